//! What `bemi::sql` says of a statement, in the words that [`tree`](crate::tree) uses too.

use bemi::sql::{Kind, SetValue, Statement};

/// What a statement does, and the tables that it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub kind: String,
    pub targets: Vec<String>,
}

impl Verdict {
    pub fn of(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            targets: Vec::new(),
        }
    }
}

pub fn verdict(statement: &Statement) -> Verdict {
    let kind = match &statement.kind {
        Kind::Write => "write".to_owned(),
        Kind::BlockOnlyWrite => "write in a block".to_owned(),
        Kind::Execute { name, writes_anyway } => execute(name, *writes_anyway),
        Kind::Prepare { name, inner } => prepare(name, &verdict(inner)),
        Kind::Deallocate { name } => format!("deallocate {name:?}"),
        Kind::Begin => "begin".to_owned(),
        Kind::Commit { chain } => format!("commit, chain {chain}"),
        Kind::Rollback { chain } => format!("rollback, chain {chain}"),
        Kind::PrepareTransaction => "prepare transaction".to_owned(),
        Kind::Savepoint(name) => format!("savepoint {name}"),
        Kind::Release(name) => format!("release {name}"),
        Kind::RollbackTo(name) => format!("rollback to {name}"),
        Kind::Set { local, value } => set(*local, value),
        Kind::ResetAll => "reset all".to_owned(),
        Kind::DiscardAll => "discard all".to_owned(),
        Kind::Other => "other".to_owned(),
    };
    let targets = statement.targets.iter().map(|table| match &table.schema {
        Some(schema) => format!("{schema}.{}", table.name),
        None => table.name.clone(),
    });
    Verdict {
        kind,
        targets: targets.collect(),
    }
}

pub fn execute(name: &str, writes_anyway: bool) -> String {
    format!("execute {name}, writes anyway {writes_anyway}")
}

pub fn prepare(name: &str, inner: &Verdict) -> String {
    format!("prepare {name} as {inner:?}")
}

pub fn set(local: bool, value: &SetValue) -> String {
    format!("set {value:?}, local {local}")
}
