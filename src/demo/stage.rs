//! The table of the demonstration, and the slot that reads the log: set up before, taken away after.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::changes::{Change, ChangesError, collect};
use super::script::TODO_COLUMNS;
use crate::client::reason;

/// How long one statement of ours may take. Making a slot waits for every transaction that is writing at that moment.
const STATEMENT_TIMEOUT: &str = "30s";

/// Why the stage could not be set, read or taken away.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The server refused.
    #[error("{what}: {reason}{advice}")]
    Refused {
        /// What was attempted.
        what: &'static str,
        /// What the server said.
        reason: String,
        /// What to do about it; empty, or a sentence behind a separator.
        advice: String,
    },
    /// The log holds what cannot be shown.
    #[error(transparent)]
    Changes(#[from] ChangesError),
}

/// Where the table is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// On a server of our own: in `public`, and every table's changes are read.
    Ours,
    /// On somebody's server: in a schema of its own, and only that table's changes are read.
    Theirs,
}

/// A table `todo`, a publication, and a temporary slot that ends with this connection.
pub struct Stage {
    client: Client,
    ground: Ground,
    name: String,
}

impl Stage {
    /// Makes them. `name` is that of the schema, the publication and the slot; it must be a plain identifier.
    ///
    /// # Errors
    /// [`StageError`] says what is missing; what had been made by then is taken away.
    pub async fn set(client: Client, ground: Ground, name: String) -> Result<Self, StageError> {
        let stage = Self { client, ground, name };
        match stage.build().await {
            Ok(()) => Ok(stage),
            Err(error) => {
                // What was refused counts more than what could not be taken away after it.
                let _ = stage.strike().await;
                Err(error)
            }
        }
    }

    async fn build(&self) -> Result<(), StageError> {
        let name = &self.name;
        self.run(
            "cannot prepare the session",
            &format!("SET statement_timeout = '{STATEMENT_TIMEOUT}'"),
        )
        .await?;
        if self.ground == Ground::Theirs {
            self.run(
                "cannot make a schema for the demonstration",
                &format!("CREATE SCHEMA {name}"),
            )
            .await?;
        }
        let table = self.table();
        self.run(
            "cannot make the table todo",
            &format!("CREATE TABLE {table} ({TODO_COLUMNS}); ALTER TABLE {table} REPLICA IDENTITY FULL"),
        )
        .await?;
        // The decoder wants the publication to be there at every change it comes across: it is made before the slot.
        let tables = match self.ground {
            Ground::Ours => "ALL TABLES".to_owned(),
            Ground::Theirs => format!("TABLE {table}"),
        };
        self.run(
            "cannot make a publication",
            &format!("CREATE PUBLICATION {name} FOR {tables}"),
        )
        .await?;
        self.run(
            "cannot make a logical replication slot, which reads the write-ahead log",
            &format!("SELECT pg_catalog.pg_create_logical_replication_slot('{name}', 'pgoutput', true)"),
        )
        .await
    }

    /// The table's name, with its schema.
    fn table(&self) -> String {
        match self.ground {
            Ground::Ours => "public.todo".to_owned(),
            Ground::Theirs => format!("{}.todo", self.name),
        }
    }

    /// What a session has to run first, for `todo` to be our table and for commits to be in the log when they return.
    pub fn session(&self) -> String {
        let schema = match self.ground {
            Ground::Ours => "public",
            Ground::Theirs => &self.name,
        };
        format!("SET search_path TO {schema}; SET synchronous_commit TO on")
    }

    /// What arrived since the last call.
    ///
    /// # Errors
    /// [`StageError`].
    pub async fn changes(&self) -> Result<Vec<Change>, StageError> {
        let rows = self
            .client
            .query(
                "SELECT data FROM pg_catalog.pg_logical_slot_get_binary_changes($1, NULL, NULL, \
                 'proto_version', '1', 'publication_names', $2, 'messages', 'true')",
                &[&self.name, &self.name],
            )
            .await
            .map_err(|error| refused("cannot read the write-ahead log", &error))?;
        let messages: Vec<&[u8]> = rows
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()
            .map_err(|error| refused("cannot read the write-ahead log", &error))?;
        Ok(collect(messages)?)
    }

    /// Takes everything away; the slot goes with the connection.
    ///
    /// # Errors
    /// [`StageError`] names what is left.
    pub async fn strike(self) -> Result<(), StageError> {
        if self.ground == Ground::Ours {
            // The whole server goes.
            return Ok(());
        }
        let name = &self.name;
        // A transaction that failed half-way would refuse these.
        let statement = format!("DROP PUBLICATION IF EXISTS {name}; DROP SCHEMA IF EXISTS {name} CASCADE");
        self.client
            .batch_execute(&statement)
            .await
            .map_err(|error| StageError::Refused {
                what: "the demonstration's schema is still there",
                reason: reason(&error),
                advice: format!("; to remove it, run: {statement}"),
            })
    }

    async fn run(&self, what: &'static str, statement: &str) -> Result<(), StageError> {
        self.client
            .batch_execute(statement)
            .await
            .map_err(|error| refused(what, &error))
    }
}

fn refused(what: &'static str, error: &tokio_postgres::Error) -> StageError {
    let advice = error
        .code()
        .and_then(advice)
        .map(|text| format!("; {text}"))
        .unwrap_or_default();
    StageError::Refused {
        what,
        reason: reason(error),
        advice,
    }
}

fn advice(code: &SqlState) -> Option<&'static str> {
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        Some(
            "the role needs CREATE on the database (GRANT CREATE ON DATABASE ... TO ...) for a schema and a \
             publication, and REPLICATION (ALTER ROLE ... REPLICATION; on Amazon RDS: GRANT rds_replication TO ...) \
             for a slot",
        )
    } else if *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE {
        Some("logical decoding needs: ALTER SYSTEM SET wal_level = 'logical', and a restart of the server")
    } else if *code == SqlState::CONFIGURATION_LIMIT_EXCEEDED {
        Some("every slot is in use: raise max_replication_slots, or drop one that nobody needs")
    } else if *code == SqlState::QUERY_CANCELED {
        Some("a slot waits for all writing transactions to end; try again when none runs for long")
    } else if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        Some("this is a standby or a read-only server; the demonstration has to write")
    } else {
        None
    }
}
