//! Moves batches from the stream to the assembler, and answers the source.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::tables::Tables;
use super::{Assembled, Ended};
use crate::replication::stream::ReplicationStream;
use crate::replication::{Lsn, Timestamp};
use crate::track::destination::DestinationError;
use crate::track::error::TrackError;
use crate::track::pipeline::Received;
use crate::track::report::Stats;
use crate::track::source;

/// Between two looks at where the source's log ends, for the report of the lag: the stream only tells what it has sent.
const LOG_END_INTERVAL: Duration = Duration::from_secs(2);

/// Read from the socket at once: permits for less are not asked for.
const READ_BYTES: usize = 256 << 10;

/// Permits are counted in these.
pub(super) const PERMIT_BYTES: usize = 1 << 10;

/// Between two messages to the source about progress, where it does not ask.
const MIN_STATUS_INTERVAL: Duration = Duration::from_millis(500);

/// The same where it asks. One that is being shut down asks again as soon as it has an answer, until the answer is that all
/// is stored.
const MIN_REPLY_INTERVAL: Duration = Duration::from_millis(20);

/// See the module's documentation.
pub(super) struct Pump {
    stream: ReplicationStream,
    /// `None`: no more are taken.
    batches: Option<mpsc::UnboundedSender<Received>>,
    budget: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
    stored: watch::Receiver<Lsn>,
    stats: Arc<Stats>,
    status_interval: Duration,
    /// The last message to the source about progress, and when the next one is due.
    last_status: Instant,
    status_due: Instant,
}

/// What comes next.
enum Step {
    Stop,
    StoreEnded(Result<Result<(), DestinationError>, tokio::task::JoinError>),
    AssemblerEnded(Result<Assembled, oneshot::error::RecvError>),
    Status,
    Stored,
    Permit(Option<OwnedSemaphorePermit>),
    Read(Result<(), crate::replication::connection::ReplicationError>),
    LookForTables,
    LookForLogEnd,
}

impl Pump {
    /// `budget`: bytes of messages that may be on their way.
    pub(super) fn new(
        stream: ReplicationStream,
        batches: mpsc::UnboundedSender<Received>,
        budget: usize,
        stored: watch::Receiver<Lsn>,
        stats: Arc<Stats>,
        status_interval: Duration,
    ) -> Self {
        Self {
            stream,
            batches: Some(batches),
            budget: Arc::new(Semaphore::new(budget / PERMIT_BYTES)),
            permit: None,
            stored,
            stats,
            status_interval,
            last_status: Instant::now(),
            status_due: Instant::now(),
        }
    }

    /// Streams until something fails, or `stop` says so and all that was read is stored.
    ///
    /// # Errors
    /// [`TrackError`]
    pub(super) async fn run(
        &mut self,
        mut storing: JoinHandle<Result<(), DestinationError>>,
        mut assembled: oneshot::Receiver<Assembled>,
        tables: Tables<'_>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Ended, TrackError> {
        let mut look = interval(tables.shared.config.track.tables_interval);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut measure = interval(LOG_END_INTERVAL);
        measure.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once; the set-up has just looked.
        look.tick().await;
        let mut is_assembling = true;
        loop {
            let missing = self.missing_permits()?;
            let is_open = self.batches.is_some();
            // First whatever ends the session, then what others wait for, then more to do.
            let step = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop), if is_open => Step::Stop,
                ended = &mut assembled, if is_assembling => Step::AssemblerEnded(ended),
                ended = &mut storing => Step::StoreEnded(ended),
                () = sleep_until(self.status_due) => Step::Status,
                // The store may have ended; its handle says so.
                Ok(()) = self.stored.changed() => Step::Stored,
                _ = look.tick(), if tables.is_needed => Step::LookForTables,
                _ = measure.tick() => Step::LookForLogEnd,
                permit = Arc::clone(&self.budget).acquire_many_owned(missing), if missing > 0 && is_open => Step::Permit(permit.ok()),
                read = self.stream.read(), if missing == 0 && is_open => Step::Read(read),
            };
            match step {
                // The assembler works off what it has, the store commits it, and both end.
                Step::Stop => self.batches = None,
                Step::AssemblerEnded(Ok(Ok(()))) => is_assembling = false,
                Step::AssemblerEnded(Ok(Err(error))) => return Err(error.into()),
                Step::AssemblerEnded(Err(_)) => {
                    return Err(TrackError::System(
                        "the assembler's thread has ended unexpectedly".into(),
                    ));
                }
                Step::StoreEnded(ended) => {
                    ended.map_err(|error| TrackError::System(error.to_string()))??;
                    self.send_status().await?;
                    return Ok(Ended::Stopped);
                }
                Step::Status => self.send_status().await?,
                Step::Stored => self.status_due = self.status_due.min(self.last_status + MIN_STATUS_INTERVAL),
                Step::Permit(permit) => self.take_permit(permit),
                Step::Read(read) => {
                    read?;
                    self.pass_on().await?;
                }
                Step::LookForLogEnd => self.stats.log_ends_at(source::log_end(&tables.client).await?),
                Step::LookForTables => {
                    // A borrow that lived on while the look waits would lock the store out, and with it this only thread.
                    let stored = *self.stored.borrow();
                    tables.look(stored).await?;
                }
            }
        }
    }

    /// How many permits are missing to read on.
    fn missing_permits(&self) -> Result<u32, TrackError> {
        let wanted = self.stream.under_way()?.max(READ_BYTES);
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = wanted.div_ceil(PERMIT_BYTES).saturating_sub(held);
        Ok(u32::try_from(missing).unwrap_or(u32::MAX))
    }

    fn take_permit(&mut self, more: Option<OwnedSemaphorePermit>) {
        match (&mut self.permit, more) {
            (Some(permit), Some(more)) => permit.merge(more),
            (permit, more) => *permit = more,
        }
    }

    async fn pass_on(&mut self) -> Result<(), TrackError> {
        let (batch, wants_reply) = self.stream.take()?;
        if !batch.is_empty()
            && let Some(batches) = &self.batches
        {
            let received = Received {
                batch,
                at: Timestamp::of(SystemTime::now()),
                permit: self.permit.take(),
            };
            // An assembler that has ended says why by itself.
            _ = batches.send(received);
        }
        if wants_reply {
            self.status_due = self.status_due.min(self.last_status + MIN_REPLY_INTERVAL);
        }
        Ok(())
    }

    async fn send_status(&mut self) -> Result<(), TrackError> {
        let stored = *self.stored.borrow_and_update();
        self.stats.moved(self.stream.received(), stored);
        self.last_status = Instant::now();
        self.status_due = self.last_status + self.status_interval;
        Ok(self
            .stream
            .send_status(stored, Timestamp::of(SystemTime::now()))
            .await?)
    }
}
