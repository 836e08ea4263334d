//! What can be wrong with a connection URL.

/// Why a URL cannot be used, and what to write instead. Never holds the password or the whole URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Nothing there.
    #[error("the URL of the server is empty: write postgresql://user@host:5432/database")]
    Empty,
    /// `mysql://` and the like.
    #[error(
        "'{scheme}://' is not the URL of a PostgreSQL server: write postgresql://user@host:5432/database"
    )]
    Scheme {
        /// What stands before `://`.
        scheme: String,
    },
    /// A `%` without two hexadecimal digits, or a sequence that is no UTF-8 or holds a zero byte.
    #[error(
        "the {part} in the URL is not correctly percent-encoded: write a '%' itself as '%25', and other bytes as \
         '%' and two hexadecimal digits of their UTF-8 encoding"
    )]
    PercentEncoding {
        /// Which part of the URL.
        part: &'static str,
    },
    /// More than one `@` before the path.
    #[error(
        "there is an '@' too many in front of the host: write an '@' in a user name or password as '%40'"
    )]
    UnescapedAt,
    /// A `[` without its `]`.
    #[error("an IPv6 address in the URL lacks its ']': write [::1]:5432")]
    Brackets,
    /// Something behind `]` that is no port.
    #[error("'{text}' stands behind an IPv6 address: only ':' and a port, ',', '/' or '?' may")]
    BehindBrackets {
        /// What was found.
        text: String,
    },
    /// A query parameter or keyword without a value.
    #[error("parameter '{key}' has no value: write {key}=...")]
    MissingValue {
        /// The parameter.
        key: String,
    },
    /// Text that is neither a URI nor keywords. What it is cannot be shown: it may hold a password.
    #[error(
        "this is neither a URL (postgresql://user@host:5432/database) nor keywords (host=... dbname=...)"
    )]
    NoUrl,
    /// A quote that does not end.
    #[error(
        "the quoted value of '{key}' does not end: a \"'\" is missing, or one inside is not written as \"\\'\""
    )]
    UnterminatedQuote {
        /// The parameter.
        key: String,
    },
    /// A port that is none.
    #[error("'{port}' is no port: write a number from 1 to 65535")]
    Port {
        /// What stands there.
        port: String,
    },
    /// A list that does not go with the hosts.
    #[error("{parameter} lists {given} entries for {hosts} hosts: write one for all hosts or one for each")]
    Count {
        /// `port` or `hostaddr`.
        parameter: &'static str,
        /// Entries in that list.
        given: usize,
        /// Hosts named.
        hosts: usize,
    },
    /// A value out of range.
    #[error("{parameter}={value} cannot be used: {expected}")]
    Value {
        /// The parameter.
        parameter: String,
        /// What was written.
        value: String,
        /// What could be written.
        expected: &'static str,
    },
    /// Known to libpq or a driver, but not supported here.
    #[error("{parameter} is not supported: {reason}")]
    Unsupported {
        /// The parameter.
        parameter: String,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// `sslrootcert=system` or `sslnegotiation=direct` with an `sslmode` that would make it worthless.
    #[error("sslmode={mode} is too weak for {with}: write {remedy}")]
    WeakMode {
        /// The mode asked for or implied.
        mode: super::SslMode,
        /// The parameter that needs more.
        with: &'static str,
        /// The modes that do.
        remedy: &'static str,
    },
}

impl UrlError {
    /// [`UrlError::Value`] of what was written.
    pub(super) fn value(parameter: &str, value: &str, expected: &'static str) -> Self {
        Self::Value {
            parameter: parameter.to_owned(),
            value: shown(value),
            expected,
        }
    }
}

/// A value as an error may show it. A URL that ended up in the place of one may hold a password, and whole or cut at
/// its commas, the part with the password is followed by an `@`. No correct value but a host holds either.
pub(super) fn shown(value: &str) -> String {
    if value.contains("://") || value.contains('@') {
        "...".to_owned()
    } else {
        value.to_owned()
    }
}
