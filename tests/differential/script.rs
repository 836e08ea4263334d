//! What one client says on one connection: a list of messages, and where it waits for the replies.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value as Json};

/// A conversation, with what is needed to judge what came of it.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub seed: u64,
    /// Parameters of the startup packet that set `bemi.context`.
    pub startup: Vec<(String, String)>,
    pub steps: Vec<Step>,
    /// Every text that writes, by the tag that it puts into its rows.
    pub texts: BTreeMap<String, Text>,
    /// Every EXECUTE of a prepared write, by what it puts into the row's column `execution`.
    pub executions: BTreeMap<i64, Text>,
}

/// A statement that writes.
#[derive(Clone, Debug)]
pub struct Text {
    pub sql: String,
    /// The context of its comment.
    pub comment: Option<Map<String, Json>>,
}

/// Messages that are sent without waiting; then all replies are awaited.
#[derive(Clone, Debug)]
pub struct Step {
    pub messages: Vec<Message>,
    /// In parts, or all at once.
    pub parts: Option<Parts>,
}

/// How a step's bytes are cut.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    pub bytes: usize,
    /// Microseconds between two writes.
    pub pause: u64,
}

/// Where a statement that the proxy must refuse fails, and the server alone would not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// In place of the statement: its value is known to be no context before it runs.
    Instead,
    /// Behind the statement: only its result tells.
    Behind,
}

/// A statement of a Query.
#[derive(Clone, Debug)]
pub struct Sql {
    pub text: String,
    pub refusal: Option<Refusal>,
}

#[derive(Clone, Debug)]
pub enum Message {
    Query(Vec<Sql>),
    Parse {
        name: String,
        sql: String,
    },
    Bind {
        portal: String,
        statement: String,
        parameters: Vec<Option<String>>,
        /// Whether the parameters are sent in their types' binary form, which of a text is the text.
        binary: bool,
    },
    DescribeStatement(String),
    DescribePortal(String),
    Execute {
        portal: String,
        /// At most so many rows; 0 is all.
        rows: i32,
        refusal: Option<Refusal>,
    },
    CloseStatement(String),
    ClosePortal(String),
    CopyData(String),
    CopyDone,
    CopyFail,
    /// The sum of two integers, by the function's OID.
    FunctionCall,
    Flush,
    Sync,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.startup {
            writeln!(f, "startup  {name} = {value}")?;
        }
        for step in &self.steps {
            for message in &step.messages {
                writeln!(f, "{message}")?;
            }
            match step.parts {
                None => writeln!(f, "-- wait for the replies")?,
                Some(Parts { bytes, pause }) => {
                    writeln!(f, "-- wait for the replies (sent {bytes} bytes every {pause} us)")?
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(statements) => {
                write!(f, "Query    ")?;
                for (index, statement) in statements.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "; " };
                    write!(f, "{separator}{}{}", statement.text, refused(statement.refusal))?;
                }
                Ok(())
            }
            Self::Parse { name, sql } => write!(f, "Parse    {name:?} {sql}"),
            Self::Bind {
                portal,
                statement,
                parameters,
                binary,
            } => {
                let form = if *binary { " in binary" } else { "" };
                write!(f, "Bind     {portal:?} to {statement:?}{form}")?;
                parameters
                    .iter()
                    .try_for_each(|value| write!(f, " {}", value.as_deref().unwrap_or("NULL").escape_debug()))
            }
            Self::DescribeStatement(name) => write!(f, "Describe statement {name:?}"),
            Self::DescribePortal(name) => write!(f, "Describe portal {name:?}"),
            Self::Execute {
                portal,
                rows,
                refusal,
            } => {
                write!(f, "Execute  {portal:?} rows={rows}{}", refused(*refusal))
            }
            Self::CloseStatement(name) => write!(f, "Close    statement {name:?}"),
            Self::ClosePortal(name) => write!(f, "Close    portal {name:?}"),
            Self::CopyData(data) => write!(f, "CopyData {data:?}"),
            Self::CopyDone => write!(f, "CopyDone"),
            Self::CopyFail => write!(f, "CopyFail"),
            Self::FunctionCall => write!(f, "FunctionCall int4pl(1, 2)"),
            Self::Flush => write!(f, "Flush"),
            Self::Sync => write!(f, "Sync"),
        }
    }
}

fn refused(refusal: Option<Refusal>) -> &'static str {
    match refusal {
        None => "",
        Some(Refusal::Instead) => "  [no context: refused]",
        Some(Refusal::Behind) => "  [no context: refused afterwards]",
    }
}
