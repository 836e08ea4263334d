//! `bemi track` beside the demonstration, and what it has stored in the end.
//!
//! Only on a server of our own: its slot is a lasting one, and a demonstration that is killed must leave none on somebody's
//! server, where an unread slot would keep the log for ever.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::report::Row;
use crate::client::reason;
use crate::config::Config;
use crate::config::url::UpstreamUrl;
use crate::track::error::TrackError;
use crate::track::run;

/// How long the tracker may take to begin, and to store what the demonstration did.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at whether it has.
const POLL: Duration = Duration::from_millis(50);

/// What the demonstration asks in the end. The statement itself has been shown already.
pub const QUERY: &str = "SELECT primary_key AS key, operation, before, after,\n       context - 'SQL' AS context\n  \
     FROM changes WHERE context @> '{\"user_id\": 187234}'\n ORDER BY committed_at DESC, id DESC";

/// Whether the slot has been made.
const IS_READY: &str =
    "SELECT count(*) FROM pg_catalog.pg_replication_slots WHERE slot_name = 'bemi' AND active";

/// Why the table could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum TrackerError {
    /// The tracker has ended.
    #[error("bemi track has ended: {0}")]
    Ended(String),
    /// It took too long.
    #[error("bemi track {what} within {} s", PATIENCE.as_secs())]
    TooSlow {
        /// What it did not do.
        what: &'static str,
    },
    /// The server refused.
    #[error("the server refused a question about the table changes: {}", reason(.0))]
    Refused(#[from] tokio_postgres::Error),
}

/// A tracker with every default, from the server into the server. Dropping it ends it.
pub struct Tracker {
    running: JoinHandle<Result<(), TrackError>>,
    _stop: watch::Sender<bool>,
}

impl Tracker {
    /// Starts it, and returns when it follows the log.
    ///
    /// # Errors
    /// [`TrackerError`]
    pub async fn start(server: UpstreamUrl, observer: &Client) -> Result<Self, TrackerError> {
        let (stop, stopped) = watch::channel(false);
        let config = Config::new(server);
        let mut tracker = Self {
            running: tokio::spawn(run::run(config, None, run::Options::default(), stopped)),
            _stop: stop,
        };
        tracker.wait_until(observer, IS_READY, 1, "did not begin").await?;
        Ok(tracker)
    }

    /// The rows of [`QUERY`], once `count` changes are stored.
    ///
    /// # Errors
    /// [`TrackerError`]
    pub async fn rows(&mut self, observer: &Client, count: i64) -> Result<Vec<Row>, TrackerError> {
        let stored = "SELECT count(*) FROM changes";
        self.wait_until(observer, stored, count, "did not store the changes")
            .await?;
        // The text of each column, as psql shows it.
        let query = format!(
            "SELECT q.key, q.operation, q.before::text, q.after::text, q.context::text FROM ({QUERY}) q"
        );
        let rows = observer.query(&query, &[]).await?;
        rows.iter()
            .map(|row| {
                (0..row.len())
                    .map(|column| Ok(row.try_get::<_, Option<String>>(column)?.unwrap_or_default()))
                    .collect()
            })
            .collect()
    }

    async fn wait_until(
        &mut self,
        observer: &Client,
        query: &str,
        wanted: i64,
        what: &'static str,
    ) -> Result<(), TrackerError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.running.is_finished() {
                let outcome = (&mut self.running).await;
                let said = outcome.map_or_else(
                    |error| error.to_string(),
                    |outcome| outcome.err().map(|error| error.to_string()).unwrap_or_default(),
                );
                return Err(TrackerError::Ended(said));
            }
            let count: i64 = observer.query_one(query, &[]).await?.try_get(0)?;
            if count >= wanted {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(TrackerError::TooSlow { what });
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.running.abort();
    }
}
