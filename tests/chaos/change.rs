//! A row change, in a form in which those of the journal and those of the table can be compared.

use std::fmt;

/// A row as text: ` column=value` for each that is not NULL, in the order of the names. No value has a space in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row(String);

impl Row {
    pub fn new(mut columns: Vec<(String, String)>) -> Self {
        columns.sort();
        Self(
            columns
                .iter()
                .map(|(name, value)| format!(" {name}={value}"))
                .collect(),
        )
    }

    pub fn column(&self, name: &str) -> Option<&str> {
        self.0
            .split(' ')
            .find_map(|column| column.strip_prefix(name)?.strip_prefix('='))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for column in self.0.split_terminator(' ') {
            // Long ones are seldom what is wrong.
            match column.get(..60) {
                Some(beginning) => write!(formatter, " {beginning}...")?,
                None => write!(formatter, " {column}")?,
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Truncate,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    pub transaction: i64,
    pub table: String,
    pub operation: Operation,
    pub before: Option<Row>,
    pub after: Option<Row>,
    /// `user_id` of its context.
    pub user: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            transaction,
            table,
            operation,
            before,
            after,
            user,
        } = self;
        write!(formatter, "transaction {transaction}: {operation:?} {table}")?;
        for (what, row) in [("before", before), ("after", after)] {
            if let Some(row) = row {
                write!(formatter, " {what}:{row}")?;
            }
        }
        write!(formatter, " by {}", user.as_deref().unwrap_or("nobody"))
    }
}
