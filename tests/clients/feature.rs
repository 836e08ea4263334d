//! What every suite shows of its driver, or says that the driver does not have.

/// A column of the table.
pub struct Feature {
    pub name: &'static str,
    /// What the suites do.
    pub demands: &'static str,
}

const fn feature(name: &'static str, demands: &'static str) -> Feature {
    Feature { name, demands }
}

/// In the order of the table.
pub const FEATURES: &[Feature] = &[
    feature(
        "connect",
        "log in with a password (SCRAM), in the clear and over TLS with `verify-full`; a wrong password and a certificate \
         of a stranger are refused",
    ),
    feature(
        "types",
        "parameters of the basic types there and back: integers, floats, numeric, text, bytea, dates and times, intervals, \
         uuid, JSON, arrays, `NULL`",
    ),
    feature(
        "prepared",
        "one prepared statement run 1,000 times, writing and reading",
    ),
    feature("transaction", "commits, rollbacks and savepoints"),
    feature("pipeline", "many statements sent before the first answer is read"),
    feature("copy", "`COPY` in and out"),
    feature("notify", "`LISTEN` and `NOTIFY`"),
    feature("cancel", "a running statement is cancelled"),
    feature(
        "errors",
        "SQLSTATE, message, detail and position, in whichever of the two protocols the driver speaks",
    ),
    feature("stream", "100,000 rows, read as they arrive or by a cursor"),
    feature(
        "context",
        "the context as an option of the session's start, by `SET`, `set_config`, `SET LOCAL` and a comment: each change \
         carries the right one",
    ),
];

/// Whether there is a column of this name.
pub fn is_feature(name: &str) -> bool {
    FEATURES.iter().any(|feature| feature.name == name)
}
