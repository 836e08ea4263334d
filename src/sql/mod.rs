//! What a SQL text is: its statements, their kinds, the tables they write, the context they carry.
//!
//! ```text
//! text -> lexer -> split -> for each statement   kind (query, transaction, setting), comment, set_config -> Analysis
//! ```
//!
//! The proxy puts something ahead of a statement only if it knows where the statement begins and that it writes; a wrong
//! boundary would change what the server runs. So boundaries and strings follow the server's scan.l to the letter, in
//! every encoding and under both settings of `standard_conforming_strings`, and are held against a real server by
//! `tests/lexer_against_server.rs`.
//!
//! What a statement does is told by a few words at its start, and by a walk over its tokens where those words say that
//! there may be more: nothing is built that the server would build again. A text is passed over once to find its
//! statements and the words of interest in it; what holds none costs no second pass.
//!
//! Rejected: deciding by the tree of a SQL parser. None but the server's own takes all that the server takes, each
//! version of the server takes more, and a statement that a parser does not know must be judged all the same.
//! sqlparser is asked in one place, where structure matters: the arguments of `set_config`.

mod analyze;
pub mod cache;
mod comment;
mod cursor;
mod keywords;
mod kind;
mod lexer;
mod literal;
mod normalize;
mod plain;
mod query;
mod set_config;
mod setting;
mod split;
mod statement;
mod transaction;

pub use analyze::analyze;
pub use normalize::normalize;
pub use plain::is_plain_select;
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
