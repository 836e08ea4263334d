//! Patterns over names of tables and functions: `todo`, `public.todo`, `audit.*`, `"Mixed Case".*`.
//!
//! Names follow SQL: what is not quoted is folded to lower case, what is quoted stands as it is, and a
//! quote inside is doubled (manual, 4.1.1 Identifiers and Key Words). The names to be matched are
//! expected as the server stores them: folded and without quotes.

use std::fmt;
use std::str::FromStr;

use super::value::found;

/// Which tables, or functions, a setting speaks of. `None` stands for any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TablePattern {
    /// The schema; `None` for a pattern without one, which holds in every schema.
    pub schema: Option<String>,
    /// The name; `None` for `*`.
    pub name: Option<String>,
}

impl TablePattern {
    /// Whether the pattern surely holds for this table. `schema` is `None` where the statement names none;
    /// then only patterns without a schema hold.
    pub fn matches(&self, schema: Option<&str>, name: &str) -> bool {
        let schema_holds = match self.schema.as_deref() {
            None => true,
            Some(wanted) => schema == Some(wanted),
        };
        schema_holds && self.name_holds(name)
    }

    /// Whether the pattern may hold for this table: as [`Self::matches`], but a table without a schema
    /// could be in the pattern's.
    pub fn may_match(&self, schema: Option<&str>, name: &str) -> bool {
        match schema {
            None => self.name_holds(name),
            Some(_) => self.matches(schema, name),
        }
    }

    fn name_holds(&self, name: &str) -> bool {
        self.name.as_deref().is_none_or(|wanted| wanted == name)
    }
}

impl FromStr for TablePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, rest) = part(text.trim())?;
        match rest.strip_prefix('.') {
            None if rest.is_empty() => Ok(Self {
                schema: None,
                name: first,
            }),
            None => Err(unexpected(rest)),
            Some(rest) => {
                let (second, rest) = part(rest)?;
                if rest.is_empty() {
                    Ok(Self {
                        schema: first,
                        name: second,
                    })
                } else {
                    Err(unexpected(rest))
                }
            }
        }
    }
}

impl fmt::Display for TablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "\"{}\".", schema.replace('"', "\"\""))?;
        }
        match &self.name {
            Some(name) => write!(f, "\"{}\"", name.replace('"', "\"\"")),
            None => f.write_str("*"),
        }
    }
}

/// Which columns a setting speaks of: `password`, `users.password`, `public.users.password`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ColumnPattern {
    /// The tables; `*` for a pattern that names only the column.
    pub table: TablePattern,
    /// The column.
    pub column: String,
}

impl ColumnPattern {
    /// Whether the pattern speaks of this column. All three are names as the server stores them.
    pub fn matches(&self, schema: &str, table: &str, column: &str) -> bool {
        self.column == column && self.table.matches(Some(schema), table)
    }
}

impl FromStr for ColumnPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut names = Vec::new();
        let mut rest = text.trim();
        loop {
            let (name, behind) = part(rest)?;
            names.push(name);
            match behind.strip_prefix('.') {
                Some(more) if names.len() < 3 => rest = more,
                None if behind.is_empty() => break,
                Some(_) | None => return Err(unexpected(behind)),
            }
        }
        let column = names
            .pop()
            .flatten()
            .ok_or("expected the name of a column, found *")?;
        let name = names.pop().flatten();
        let schema = names.pop().flatten();
        Ok(Self {
            table: TablePattern { schema, name },
            column,
        })
    }
}

impl fmt::Display for ColumnPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.table.schema.is_some() || self.table.name.is_some() {
            write!(f, "{}.", self.table)?;
        }
        write!(f, "\"{}\"", self.column.replace('"', "\"\""))
    }
}

/// One name (`None` for `*`) off the front of `text`, and what follows it.
fn part(text: &str) -> Result<(Option<String>, &str), String> {
    if let Some(rest) = text.strip_prefix('*') {
        return Ok((None, rest));
    }
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted_name(quoted).map(|(name, rest)| (Some(name), rest));
    }
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    match text.split_at(end) {
        ("", rest) => Err(unexpected(rest)),
        (name, _) if name.starts_with(|c: char| c.is_ascii_digit() || c == '$') => Err(unexpected(name)),
        (name, rest) => Ok((Some(name.to_ascii_lowercase()), rest)),
    }
}

/// The name up to its closing quote, with doubled quotes undone. `text` begins behind the opening one.
fn quoted_name(text: &str) -> Result<(String, &str), String> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest
            .split_once('"')
            .ok_or("the closing \" of a quoted name is missing")?;
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None if name.is_empty() => return Err("a quoted name is empty".into()),
            None => return Ok((name, after)),
        }
    }
}

fn unexpected(rest: &str) -> String {
    let found = if rest.is_empty() {
        "the end".into()
    } else {
        found(rest)
    };
    format!("expected name, schema.name or schema.*, found {found}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TablePattern {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_pattern_without_a_schema_holds_in_every_schema() {
        let todo = pattern("todo");
        assert!(todo.matches(None, "todo"));
        assert!(todo.matches(Some("audit"), "todo"));
        assert!(!todo.matches(None, "todos"));
    }

    #[test]
    fn a_pattern_with_a_schema_surely_holds_only_where_the_statement_names_it() {
        let todo = pattern("public.todo");
        assert!(todo.matches(Some("public"), "todo"));
        assert!(!todo.matches(Some("audit"), "todo"));
        assert!(!todo.matches(None, "todo"));
        assert!(todo.may_match(None, "todo"));
        assert!(!todo.may_match(Some("audit"), "todo"));
        assert!(!todo.may_match(None, "other"));
    }

    #[test]
    fn a_star_stands_for_any_name() {
        let audit = pattern("audit.*");
        assert!(audit.matches(Some("audit"), "anything"));
        assert!(!audit.matches(None, "anything"));
        assert!(audit.may_match(None, "anything"));
        assert!(pattern("*").matches(None, "anything"));
        assert_eq!(pattern("*.todo"), pattern("todo"));
    }

    #[test]
    fn names_fold_as_in_sql_unless_quoted() {
        assert!(pattern("Todo").matches(None, "todo"));
        assert!(pattern(r#""Todo""#).matches(None, "Todo"));
        assert!(!pattern(r#""Todo""#).matches(None, "todo"));
        assert!(pattern(r#""my ""own"" schema"."a.b""#).matches(Some("my \"own\" schema"), "a.b"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in [
            "", ".", "a.", ".a", "a.b.c", "a b", "\"open", "\"\"", "a*", "1a", "a;b",
        ] {
            assert!(text.parse::<TablePattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_pattern_reads_back_as_it_is_written() {
        for text in ["todo", "public.todo", "audit.*", "*", r#""My ""own"""."x y""#] {
            assert_eq!(pattern(&pattern(text).to_string()), pattern(text));
        }
    }

    #[test]
    fn a_column_may_be_named_with_its_table_and_schema() {
        let matches = |text: &str| {
            let pattern: ColumnPattern = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(pattern.to_string().parse(), Ok(pattern.clone()));
            pattern.matches("public", "users", "E-Mail")
        };
        assert!(
            [
                "\"E-Mail\"",
                "users.\"E-Mail\"",
                "public.users.\"E-Mail\"",
                "*.users.\"E-Mail\"",
                "*.\"E-Mail\""
            ]
            .into_iter()
            .all(matches)
        );
        assert!(
            !["email", "orders.\"E-Mail\"", "audit.users.\"E-Mail\""]
                .into_iter()
                .any(matches)
        );
        for text in ["", "*", "users.*", "a.b.c.d", "a.", "a b"] {
            assert!(text.parse::<ColumnPattern>().is_err(), "{text}");
        }
    }
}
