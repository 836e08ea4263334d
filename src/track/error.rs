//! Why tracking stops, and whether trying again may help.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::assembler::AssembleError;
use super::destination::DestinationError;
use super::gap::Gap;
use crate::check::queries::QueryError;
use crate::client::{ClientError, reason};
use crate::replication::connection::ReplicationError;

/// Why tracking stops.
#[derive(Debug, thiserror::Error)]
pub enum TrackError {
    /// The configuration cannot be used.
    #[error("{0}")]
    Configuration(String),
    /// The source lacks something; each line says what, and what to run.
    #[error("the source is not ready:\n{0}")]
    Unmet(String),
    /// Changes are missing.
    #[error("{}", gap_message(.0))]
    Gap(Gap),
    /// No session, or a statement in it was refused.
    #[error("{whose}: {source}")]
    Client {
        /// Which of the two servers.
        whose: &'static str,
        /// What came of it.
        source: ClientError,
    },
    /// It took the connection, and then said nothing.
    #[error("{whose}: no login within {} s (limits.handshake_timeout)", .limit.as_secs_f64())]
    Silent {
        /// Which of the two servers.
        whose: &'static str,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The source could not be asked.
    #[error("source: {0}")]
    Query(#[from] QueryError),
    /// The stream broke.
    #[error("source: {0}")]
    Replication(#[from] ReplicationError),
    /// The stream cannot be understood.
    #[error("source: {0}")]
    Assemble(#[from] AssembleError<tokio_postgres::Error>),
    /// The destination.
    #[error("destination: {0}")]
    Destination(#[from] DestinationError),
    /// The operating system.
    #[error("{0}")]
    System(String),
}

fn gap_message(gap: &Gap) -> String {
    let from = gap
        .from
        .map_or_else(|| "the beginning".to_owned(), |lsn| lsn.to_string());
    let to = match gap.to {
        Some(lsn) => format!("the slot can be read from {lsn}"),
        None => "a new slot would begin at the end of the log".to_owned(),
    };
    format!(
        "changes are missing: {}.\n  Stored is everything before {from}; {to}. What was changed between cannot be had from \
         the log any more.\n  To go on behind the gap, and have a row in changes_gaps tell of it, run once with --accept-gap.",
        gap.reason
    )
}

/// Whether trying again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Time: a server that starts, a network that comes back, a process that ends.
    Wait,
    /// Somebody has to do something.
    Operator,
}

impl TrackError {
    /// On a session with the source or the destination.
    #[must_use]
    pub fn from_client(whose: &'static str, source: ClientError) -> Self {
        Self::Client { whose, source }
    }

    /// Whether trying again may help.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Configuration(_) | Self::Unmet(_) | Self::Gap(_) => Remedy::Operator,
            Self::System(_) | Self::Silent { .. } => Remedy::Wait,
            Self::Client { source, .. } => match source {
                ClientError::Connect(_) => Remedy::Wait,
                ClientError::Postgres(error) => of_postgres(error),
            },
            Self::Query(QueryError::Postgres(error)) | Self::Assemble(AssembleError::Catalog(error)) => {
                of_postgres(error)
            }
            Self::Query(QueryError::Answer(_)) => Remedy::Operator,
            Self::Assemble(
                AssembleError::Decode(_)
                | AssembleError::UnknownTable(_)
                | AssembleError::NoTransaction(_)
                | AssembleError::NewerProtocol,
            ) => Remedy::Operator,
            Self::Replication(error) => of_replication(error),
            Self::Destination(error) => match error {
                DestinationError::Postgres { source, .. } => of_postgres(source),
                DestinationError::Locked { .. } | DestinationError::Superseded => Remedy::Wait,
                DestinationError::ForeignTable { .. }
                | DestinationError::Encoding(_)
                | DestinationError::Rights { .. }
                | DestinationError::Newer { .. }
                | DestinationError::OtherForm(_) => Remedy::Operator,
            },
        }
    }
}

fn of_postgres(error: &tokio_postgres::Error) -> Remedy {
    match error.code() {
        Some(code) => of_sqlstate(code.code()),
        // No answer: the connection broke. What the library refuses by itself is a wrong configuration.
        None if reason(error).contains("invalid configuration")
            || reason(error).contains("password missing") =>
        {
            Remedy::Operator
        }
        None => Remedy::Wait,
    }
}

fn of_replication(error: &ReplicationError) -> Remedy {
    match error {
        ReplicationError::Connect(_) | ReplicationError::Io(_) | ReplicationError::Closed => Remedy::Wait,
        ReplicationError::Auth(_) | ReplicationError::NoPassword | ReplicationError::Unexpected(_) => {
            Remedy::Operator
        }
        ReplicationError::Server { sqlstate, .. } => of_sqlstate(sqlstate),
    }
}

/// By class (manual, appendix A). What has to do with rights, names, syntax and data stays as it is however often it is
/// tried; what has to do with connections, resources and other processes may pass.
fn of_sqlstate(code: &str) -> Remedy {
    // A change that is there already: another tracker stored it; what it stored is looked at again.
    if code == SqlState::UNIQUE_VIOLATION.code() {
        return Remedy::Wait;
    }
    match code.get(..2) {
        Some("0A" | "0L" | "0P" | "22" | "23" | "28" | "3D" | "3F" | "42" | "44") => Remedy::Operator,
        Some(_) | None => Remedy::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::{Remedy, of_sqlstate};

    #[test]
    fn what_may_pass_is_tried_again() {
        for code in [
            "57P01", "57P03", "53300", "53100", "08006", "40001", "55006", "23505", "XX000", "",
        ] {
            assert_eq!(of_sqlstate(code), Remedy::Wait, "{code}");
        }
    }

    #[test]
    fn what_stays_as_it_is_is_not() {
        for code in ["28P01", "42501", "42P01", "3D000", "22P02", "23502"] {
            assert_eq!(of_sqlstate(code), Remedy::Operator, "{code}");
        }
    }
}
