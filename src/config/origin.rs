//! Where a value came from, and what is wrong with it: every error names its source.

use std::fmt;
use std::path::PathBuf;

/// The place a value was set at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag, as the user writes it: `--listen`.
    Flag(String),
    /// A variable of the environment: `BEMI_LISTEN`.
    Variable(String),
    /// A line of the file, counted from 1.
    File {
        /// The path as it was given.
        path: PathBuf,
        /// The line of the key.
        line: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => f.write_str(name),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
        }
    }
}

/// One thing that is wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the value was set; `None` for one that is missing.
    pub origin: Option<Origin>,
    /// The key as in the file, `upstream.connect_timeout`; empty where no key is meant.
    pub key: String,
    /// What is wrong. Never holds a secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Why there is no configuration: all that is wrong, not just the first thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.problems))]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

fn lines(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
