//! Stores what the pipeline hands over: rows and progress in one transaction.
//!
//! ```text
//!            Rows                        boundary reached, and enough or long enough
//!   idle  ----------> BEGIN, COPY ...  ------------------------------------------------> progress, COMMIT --> idle
//!                      ^        | FixUp                                                        |
//!                      +--------+ end COPY, UPDATE                                    `stored` goes up
//! ```
//!
//! A transaction of the source is never parted, so a large one makes a large transaction here. Several small ones go
//! together. Whatever fails ends the session: what was not committed is not there, and comes again.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::SinkExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::CopyInSink;

use super::assembler::Boundary;
use super::destination::{Destination, DestinationError, failed};
use super::id::hyphenated;
use super::partition::Partition;
use super::pipeline::{Event, Rows};
use super::report::Stats;
use super::row::COLUMNS;
use crate::replication::{Lsn, Timestamp};

/// A transaction that has copied so many bytes is committed at the next boundary.
const BATCH_BYTES: usize = 16 << 20;

/// Progress without any rows is stored only from this many bytes on: to store it writes a little log itself, which, in the
/// same database, would be progress again.
const IDLE_BYTES: u64 = 64 << 10;

/// Between two looks at the partitions.
const PARTITIONS_INTERVAL: Duration = Duration::from_secs(3_600);

/// Stores events.
#[derive(Debug)]
pub struct Store {
    destination: Destination,
    /// How far the progress is.
    stored: watch::Sender<Lsn>,
    stats: Arc<Stats>,
    flush_interval: Duration,
    idle_interval: Duration,
    idle: Idle,
    partition: Option<Partition>,
    next_look_at_partitions: Instant,
}

/// What has been seen behind the last rows.
#[derive(Debug)]
struct Idle {
    lsn: Lsn,
    /// When it may be stored.
    due: Instant,
    /// The source waits to hear that it is stored: a server that shuts down does not leave before (`WalSndDone`,
    /// walsender.c).
    is_awaited: bool,
}

/// The transaction on the destination.
struct Open {
    copy: Option<Pin<Box<CopyInSink<Bytes>>>>,
    since: Instant,
    bytes: usize,
    rows: u64,
    /// Everything copied so far is complete up to here.
    boundary: Option<Boundary>,
}

impl Store {
    /// `stored` holds the progress that is there.
    #[must_use]
    pub fn new(
        destination: Destination,
        stored: watch::Sender<Lsn>,
        stats: Arc<Stats>,
        flush_interval: Duration,
        idle_interval: Duration,
    ) -> Self {
        let lsn = *stored.borrow();
        Self {
            destination,
            stored,
            stats,
            flush_interval,
            idle_interval,
            idle: Idle {
                lsn,
                due: Instant::now() + idle_interval,
                is_awaited: false,
            },
            partition: None,
            next_look_at_partitions: Instant::now(),
        }
    }

    /// Stores until there are no more events.
    ///
    /// # Errors
    /// [`DestinationError`]; what is not committed by then is not stored.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>) -> Result<(), DestinationError> {
        let mut open: Option<Open> = None;
        loop {
            if open.is_none() {
                self.look_at_partitions().await?;
            }
            let event = match self.deadline(open.as_ref()) {
                Some(deadline) => timeout_at(deadline, events.recv()).await,
                None => Ok(events.recv().await),
            };
            match event {
                Ok(Some(Event::Rows(rows))) => open = Some(self.copy(open.take(), rows).await?),
                Ok(Some(Event::FixUp {
                    first,
                    last,
                    committed_at,
                    context,
                })) => {
                    self.fix_up(open.as_mut(), (first, last), committed_at, context)
                        .await?
                }
                Ok(Some(Event::Idle { lsn, is_awaited })) => {
                    self.idle.lsn = self.idle.lsn.max(lsn);
                    self.idle.is_awaited |= is_awaited;
                }
                // A deadline has come.
                Err(_elapsed) => {}
                Ok(None) => return self.finish(open).await,
            }
            open = match open {
                Some(transaction) if self.is_due(&transaction) => {
                    self.commit(transaction).await?;
                    None
                }
                None => {
                    self.store_idle().await?;
                    None
                }
                not_yet => not_yet,
            };
        }
    }

    /// When something has to be done without any event.
    fn deadline(&self, open: Option<&Open>) -> Option<Instant> {
        match open {
            Some(transaction) if transaction.boundary.is_some() => {
                Some(transaction.since + self.flush_interval)
            }
            // In the middle of a transaction of the source.
            Some(_) => None,
            None => Some(self.idle.due.max(Instant::now() + Duration::from_millis(10))),
        }
    }

    fn is_due(&self, open: &Open) -> bool {
        open.boundary.is_some() && (open.bytes >= BATCH_BYTES || open.since.elapsed() >= self.flush_interval)
    }

    async fn copy(&mut self, open: Option<Open>, rows: Rows) -> Result<Open, DestinationError> {
        const WHAT: &str = "cannot store changes";
        let client = &self.destination.client;
        let mut open = match open {
            Some(open) => open,
            None => {
                client.batch_execute("BEGIN").await.map_err(failed(WHAT))?;
                Open {
                    copy: None,
                    since: Instant::now(),
                    bytes: 0,
                    rows: 0,
                    boundary: None,
                }
            }
        };
        self.partitions_for(&mut open, &rows.days).await?;
        let copy = match &mut open.copy {
            Some(copy) => copy,
            none => {
                let statement = format!("COPY {}.changes ({COLUMNS}) FROM STDIN", self.destination.schema);
                let copy = self
                    .destination
                    .client
                    .copy_in(&statement)
                    .await
                    .map_err(failed(WHAT))?;
                none.insert(Box::pin(copy))
            }
        };
        open.bytes += rows.bytes.len();
        open.rows += rows.count;
        open.boundary = rows.boundary;
        copy.send(rows.bytes).await.map_err(failed(WHAT))?;
        Ok(open)
    }

    /// Rows that come late need partitions of the past.
    async fn partitions_for(&mut self, open: &mut Open, days: &[Timestamp]) -> Result<(), DestinationError> {
        for day in days {
            let partition = self.destination.partition_of(*day);
            if let Some(wanted) = partition.filter(|_| partition != self.partition) {
                end_copy(open).await?;
                self.destination.make_partition(&wanted).await?;
                self.partition = partition;
            }
        }
        Ok(())
    }

    async fn fix_up(
        &mut self,
        open: Option<&mut Open>,
        (first, last): (u128, u128),
        committed_at: Timestamp,
        context: Vec<u8>,
    ) -> Result<(), DestinationError> {
        if let Some(open) = open {
            end_copy(open).await?;
        }
        // The time is there for the partition.
        let statement = format!(
            "UPDATE {}.changes SET context = $1::text::jsonb
              WHERE id BETWEEN $2::text::uuid AND $3::text::uuid AND committed_at = $4::text::timestamptz",
            self.destination.schema
        );
        let [first, last] =
            [first, last].map(|id| String::from_utf8(hyphenated(id).to_vec()).unwrap_or_default());
        let context = String::from_utf8(context).unwrap_or_default();
        self.destination
            .client
            .execute(&statement, &[&context, &first, &last, &committed_at.to_string()])
            .await
            .map(drop)
            .map_err(failed("cannot store a context"))
    }

    async fn commit(&mut self, mut open: Open) -> Result<(), DestinationError> {
        let Some(boundary) = open.boundary else {
            return Ok(());
        };
        end_copy(&mut open).await?;
        let from = *self.stored.borrow();
        self.destination
            .advance(from, boundary.end_lsn, Some(boundary.committed_at))
            .await?;
        self.destination
            .client
            .batch_execute("COMMIT")
            .await
            .map_err(failed("cannot commit changes"))?;
        self.stats.stored(open.rows, boundary);
        self.moved_to(boundary.end_lsn);
        Ok(())
    }

    async fn store_idle(&mut self) -> Result<(), DestinationError> {
        let is_awaited = std::mem::take(&mut self.idle.is_awaited);
        if Instant::now() < self.idle.due && !is_awaited {
            return Ok(());
        }
        self.idle.due = Instant::now() + self.idle_interval;
        let from = *self.stored.borrow();
        let worthwhile = if is_awaited { 1 } else { IDLE_BYTES };
        if self.idle.lsn.0.saturating_sub(from.0) >= worthwhile {
            self.destination.advance(from, self.idle.lsn, None).await?;
            self.moved_to(self.idle.lsn);
        }
        Ok(())
    }

    fn moved_to(&mut self, lsn: Lsn) {
        self.idle.lsn = self.idle.lsn.max(lsn);
        self.stored.send_replace(lsn);
    }

    async fn look_at_partitions(&mut self) -> Result<(), DestinationError> {
        if Instant::now() >= self.next_look_at_partitions {
            self.next_look_at_partitions = Instant::now() + PARTITIONS_INTERVAL;
            let dropped = self
                .destination
                .keep_partitions(Timestamp::of(SystemTime::now()))
                .await?;
            for partition in dropped {
                self.partition = None;
                tracing::info!(partition, "dropped: its changes are older than the retention");
            }
        }
        Ok(())
    }

    /// The stream has ended: whole transactions are stored, half of one is not.
    async fn finish(&mut self, open: Option<Open>) -> Result<(), DestinationError> {
        match open {
            Some(open) if open.boundary.is_some() => self.commit(open).await,
            Some(_) | None => Ok(()),
        }
    }
}

async fn end_copy(open: &mut Open) -> Result<(), DestinationError> {
    if let Some(mut copy) = open.copy.take() {
        copy.as_mut()
            .finish()
            .await
            .map_err(failed("cannot store changes"))?;
    }
    Ok(())
}
