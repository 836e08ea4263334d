//! What a SQL text is: its statements, their kinds, the tables they write, the context they carry.

mod analyze;
pub mod cache;
mod comment;
mod cursor;
mod kind;
mod lexer;
mod literal;
mod normalize;
mod query;
mod set_config;
mod setting;
mod split;
mod statement;
mod transaction;

pub use analyze::analyze;
pub use normalize::normalize;
pub use statement::{Analysis, Arg, Kind, SetConfig, SetValue, Statement, TableName};

use crate::wire::encoding::ClientEncoding;

/// The setting that holds the context of a session or transaction.
pub const VARIABLE: &str = "bemi.context";

/// What decides how the server reads the bytes of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dialect {
    /// `standard_conforming_strings`: off means that a backslash escapes in `'..'`.
    pub standard_conforming_strings: bool,
    /// `client_encoding`.
    pub encoding: ClientEncoding,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            standard_conforming_strings: true,
            encoding: ClientEncoding::default(),
        }
    }
}

/// What the operator decided about comments and functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The word that opens and closes a context comment: `/*Bemi {..} Bemi*/`.
    pub affix: String,
    /// Whether `/*key='value'*/` is context.
    pub sqlcommenter: bool,
    /// Whether `/*key:value*/` is context.
    pub marginalia: bool,
    /// A SELECT or CALL that names one of these functions is a write.
    pub functions: Vec<FunctionName>,
    /// The longest context that a statement may carry, in bytes of its comments.
    pub max_context_bytes: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            affix: "Bemi".to_owned(),
            sqlcommenter: true,
            marginalia: false,
            functions: Vec::new(),
            max_context_bytes: 1 << 20,
        }
    }
}

/// A function as `[inject] functions` names it; without a schema it means that function in any schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FunctionName {
    /// Case-folded, unless it was quoted.
    pub schema: Option<String>,
    /// Case-folded, unless it was quoted.
    pub name: String,
}
