//! A SET that must not succeed, and the error its client reads.
//!
//! The proxy cannot just answer with an error: inside a transaction the server has to fail as well, or the
//! client's view of the transaction and the server's part ways. So a statement that fails on every server goes
//! ahead of the SET, and its error is replaced by one that says what is wrong with the value. Replacing the SET
//! itself was rejected: what a prepared statement describes, and what later executions do, would change.

use crate::context::InvalidContext;
use crate::sql::VARIABLE;
use crate::wire::response::{Response, Severity, sqlstate};

/// Why a value was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    reason: String,
}

/// A statement that fails with 22023 on every server and in every state, except in a failed transaction, where
/// 25P02 is what the client's own SET would have got. In a Query its columns are described before it fails: their name
/// says that they are not for the client.
pub const FAILING_SQL: &str = "SELECT pg_catalog.set_config('client_min_messages','bemi',true) AS \"_bemi\"";

impl Refusal {
    /// The value is no context.
    pub fn invalid(why: &InvalidContext) -> Self {
        Self {
            reason: why.to_string(),
        }
    }

    /// The server found that the value is no context.
    pub fn by_server(its_message: &str) -> Self {
        Self {
            reason: format!("it is no JSON object within the size limit: {its_message}"),
        }
    }

    /// What the client reads; the server words it like this for its own settings
    /// (`parse_and_validate_value` in `guc.c`).
    pub fn response(&self) -> Response {
        let message = format!("invalid value for parameter \"{VARIABLE}\": {}", self.reason);
        Response::new(Severity::Error, sqlstate::INVALID_PARAMETER_VALUE, message).hint(format!(
            "Set it to a JSON object: SET {VARIABLE} = '{{\"user_id\": 1}}'. The old value stays in force."
        ))
    }
}
