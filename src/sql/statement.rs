//! What is known about a SQL text once it has been analysed.

use std::ops::Range;

use serde_json::{Map, Value};

/// All there is to know about a SQL text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Analysis {
    /// One for each parse tree that the server's raw parser would make: none for what is empty between two `;`.
    pub statements: Box<[Statement]>,
    /// Whether an identifier of the text starts with `pg_prepared_statement`.
    pub mentions_prepared_statements: bool,
    /// Whether it may change the [`Dialect`](crate::sql::Dialect) that later texts are read by.
    pub may_change_dialect: bool,
}

/// One statement of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Bytes of the text: from just after the previous `;` up to its own `;` or the end. Ahead of its start is
    /// where an injected statement goes.
    pub range: Range<usize>,
    /// The same without surrounding white space: the SQL to show.
    pub body: Range<usize>,
    /// What the statement does, as far as it matters here.
    pub kind: Kind,
    /// The tables it writes; empty when unknown.
    pub targets: Box<[TableName]>,
    /// The merged context of its comments, later ones override; None when there is none.
    pub context: Option<Map<String, Value>>,
    /// What was wrong with comments that claim to be context: the text of a warning.
    pub problems: Box<[String]>,
    /// A call of `set_config` that touches or may touch `bemi.context`, anywhere in the statement.
    pub set_config: Option<SetConfig>,
}

/// What a statement does, as far as it matters here.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// INSERT, UPDATE, DELETE, MERGE, COPY .. FROM, TRUNCATE; inside WITH; under EXPLAIN ANALYZE; CREATE TABLE AS,
    /// SELECT INTO; a SELECT or CALL naming one of [`Rules::functions`](crate::sql::Rules::functions).
    Write,
    /// CALL and DO: writes only inside an explicit transaction block.
    BlockOnlyWrite,
    /// EXECUTE, also under EXPLAIN ANALYZE.
    Execute {
        /// The prepared statement, folded as an identifier.
        name: String,
        /// CREATE TABLE AS EXECUTE: a write whatever the prepared statement is.
        writes_anyway: bool,
    },
    /// PREPARE name AS inner.
    Prepare {
        /// The prepared statement, folded as an identifier.
        name: String,
        /// What it prepares; its ranges are those of the whole text.
        inner: Box<Statement>,
    },
    /// DEALLOCATE.
    Deallocate {
        /// None: ALL.
        name: Option<String>,
    },
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT, END.
    Commit {
        /// AND CHAIN.
        chain: bool,
    },
    /// ROLLBACK, ABORT.
    Rollback {
        /// AND CHAIN.
        chain: bool,
    },
    /// PREPARE TRANSACTION.
    PrepareTransaction,
    /// SAVEPOINT.
    Savepoint(String),
    /// RELEASE \[SAVEPOINT\].
    Release(String),
    /// ROLLBACK TO \[SAVEPOINT\].
    RollbackTo(String),
    /// SET or RESET of [`VARIABLE`](crate::sql::VARIABLE); of no other variable.
    Set {
        /// SET LOCAL.
        local: bool,
        /// What it is set to.
        value: SetValue,
    },
    /// RESET ALL.
    ResetAll,
    /// DISCARD ALL.
    DiscardAll,
    /// Everything else.
    Other,
}

/// What SET sets to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetValue {
    /// The literal, decoded as the server does.
    Value(String),
    /// DEFAULT, or RESET.
    Default,
    /// FROM CURRENT: what it is at this moment, be it of the transaction only.
    Current,
}

/// A call of `set_config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetConfig {
    /// [`VARIABLE`](crate::sql::VARIABLE), or what cannot be known from the text.
    pub name: Arg,
    /// The second argument. NULL resets the setting.
    pub value: Arg,
    /// The third argument: as a literal it is `"true"` or `"false"`, whatever the text has for them.
    pub is_local: Arg,
    /// The call runs exactly once when the statement runs, and its value is its second argument.
    pub exactly_once: bool,
}

/// An argument of `set_config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    /// A string as the server decodes it; booleans are `"true"` and `"false"`.
    Literal(String),
    /// NULL.
    Null,
    /// `$n`, counted from 1.
    Param(u16),
    /// Anything else.
    Expression,
}

/// A table as a statement names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName {
    /// Case-folded as the server does, unless it was quoted.
    pub schema: Option<String>,
    /// Case-folded as the server does, unless it was quoted.
    pub name: String,
}

impl Analysis {
    /// Bytes of memory it takes up, roughly.
    pub fn weight(&self) -> usize {
        size_of_val(self) + self.statements.iter().map(Statement::weight).sum::<usize>()
    }
}

impl Statement {
    fn weight(&self) -> usize {
        let names = |table: &TableName| table.name.len() + table.schema.as_ref().map_or(0, String::len);
        let targets = self
            .targets
            .iter()
            .map(|table| size_of_val(table) + names(table))
            .sum::<usize>();
        let problems = self
            .problems
            .iter()
            .map(|problem| size_of_val(problem) + problem.len())
            .sum::<usize>();
        let inner = match &self.kind {
            Kind::Prepare { inner, .. } => inner.weight(),
            _ => 0,
        };
        // The value of a literal is no longer than the statement it stands in.
        let has_literal = self.set_config.is_some() || matches!(self.kind, Kind::Set { .. });
        let literal = if has_literal { self.range.len() } else { 0 };
        size_of_val(self)
            + targets
            + problems
            + inner
            + literal
            + self.context.as_ref().map_or(0, object_weight)
    }
}

fn object_weight(object: &Map<String, Value>) -> usize {
    // Beside key and value the map holds a hash and an index for each.
    let bucket = size_of::<String>() + size_of::<Value>() + 3 * size_of::<usize>();
    object
        .iter()
        .map(|(key, value)| bucket + key.len() + value_weight(value))
        .sum()
}

fn value_weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 0,
        Value::Number(number) => number.as_str().len(),
        Value::String(text) => text.len(),
        Value::Array(items) => items
            .iter()
            .map(|item| size_of_val(item) + value_weight(item))
            .sum(),
        Value::Object(object) => object_weight(object),
    }
}
