//! One connection to source and destination, from login to the first thing that fails.
//!
//! ```text
//!   source ── stream ──> pump ── Received ──> thread (assembler) ── Event ──> store ── COPY ──> destination
//!      ^                  | ^                                                   |
//!      +── status ────────+ +────────────────── stored: Lsn ────────────────────+
//! ```
//!
//! **Memory.** Before the pump reads a message it takes as many permits as the message has bytes; the assembler gives them
//! back when it is done with it. So there are never more than [`message_budget`] bytes of messages, be it many small ones or a large
//! one. Behind the assembler wait a few pieces of fixed size.

mod pump;
mod tables;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{Sender, UnboundedReceiver};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_postgres::Client;

use super::assembler::{AssembleError, Assembler, OwnTables, Settings};
use super::destination::Destination;
use super::endpoints::{Endpoints, is_same_database};
use super::error::TrackError;
use super::gap::{Gap, GapReason, Start, fork_of, judge};
use super::id::Origin;
use super::pipeline::{Event, QUEUED_EVENTS, Received, assemble};
use super::report::Stats;
use super::rules::Rules;
use super::setup::{self, Setup, SourceFacts, TopTable};
use super::source::{self, SourceCatalog};
use super::store::Store;
use crate::config::{Config, Track};
use crate::replication::Lsn;
use crate::replication::connection::{ReplicationConnection, System};
use pump::{PERMIT_BYTES, Pump};
use tables::{ADDED_LATER, Tables};

/// The part of the memory limit that messages may take up, in bytes. The rest is for what they become, and for the process.
/// A whole number of permits: one that takes all of it must not wait for a permit that does not exist.
pub fn message_budget(track: &Track) -> usize {
    track.memory_limit_bytes / 2 / PERMIT_BYTES * PERMIT_BYTES
}

/// What outlives a session.
#[derive(Debug)]
pub struct Shared {
    /// The configuration.
    pub config: Config,
    /// What of the changes may be stored.
    pub rules: Arc<Rules>,
    /// For people.
    pub stats: Arc<Stats>,
    /// Go on behind a gap, once.
    pub accept_gap: AtomicBool,
}

/// How a session ended without an error.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Stopped,
}

/// A session that is ready to stream.
pub struct Session {
    facts: SourceFacts,
    setup: Setup,
    source: Client,
    destination: Destination,
    system: System,
    replication: ReplicationConnection,
    own_schema: Option<String>,
    start: Lsn,
}

impl Session {
    /// Connects, sets up what is missing, and finds out where to go on.
    ///
    /// # Errors
    /// [`TrackError`]
    pub async fn open(shared: &Shared, endpoints: &Endpoints) -> Result<Self, TrackError> {
        let (config, track) = (&shared.config, &shared.config.track);
        let source = endpoints.source(config).await?;
        let facts = source::ask(&source, &track.publication, &track.slot).await?;
        let client = endpoints.destination(config).await?;
        let own_schema = is_same_database(&source, &client)
            .await?
            .then(|| track.schema.clone());
        let setup = setup::plan(&facts, track, &shared.rules, own_schema.as_deref());
        let unmet: Vec<String> = setup.unmet().map(ToString::to_string).collect();
        if !unmet.is_empty() {
            return Err(TrackError::Unmet(unmet.join("\n")));
        }
        for finding in setup.notes() {
            tracing::warn!("{finding}");
        }
        let destination = Destination::new(client, track, &facts.server.database);
        destination.lock().await?;
        destination.migrate(&track.schema).await?;
        let mut replication = endpoints.replication(config).await?;
        let system = replication.identify_system().await?;
        let mut session = Self {
            facts,
            setup,
            source,
            destination,
            system,
            replication,
            own_schema,
            start: Lsn(0),
        };
        session.start = session.find_start(shared).await?;
        Ok(session)
    }

    async fn find_start(&mut self, shared: &Shared) -> Result<Lsn, TrackError> {
        let progress = self.destination.progress().await?;
        let forked_at = match &progress {
            Some(progress) if progress.timeline != self.system.timeline => {
                let history = self.replication.timeline_history(self.system.timeline).await;
                history
                    .ok()
                    .and_then(|history| fork_of(&history, progress.timeline))
            }
            Some(_) | None => None,
        };
        let judged = judge(
            progress.as_ref(),
            self.facts.slot.as_ref(),
            self.system,
            forked_at,
        );
        let judged = match judged {
            // The decoder looks for the publication where it reads: one made now is not there yet.
            Ok(Start::Resume(stored)) if self.facts.publication.is_none() => Err(Gap {
                from: Some(stored),
                to: None,
                reason: GapReason::PublicationGone,
            }),
            judged => judged,
        };
        match judged {
            Ok(start) => {
                self.begin(start, progress.map(|progress| progress.timeline))
                    .await
            }
            Err(gap) => {
                if !shared.accept_gap.load(Ordering::Relaxed) {
                    return Err(TrackError::Gap(gap));
                }
                let start = self.go_on_behind(gap, shared).await?;
                // Said of this gap, and not of one that comes later.
                shared.accept_gap.store(false, Ordering::Relaxed);
                Ok(start)
            }
        }
    }

    async fn begin(&self, start: Start, timeline: Option<u32>) -> Result<Lsn, TrackError> {
        let (lsn, what) = match start {
            Start::Resume(lsn) => {
                let added: Vec<&TopTable> = self.setup.added.iter().collect();
                let gaps = self.destination.begin_gaps(&added, lsn, ADDED_LATER).await?;
                self.publish().await?;
                let until = source::log_end(&self.source).await?;
                self.destination.end_gaps(&gaps, Some(until)).await?;
                if timeline.is_some_and(|timeline| timeline != self.system.timeline) {
                    tracing::warn!(
                        timeline = self.system.timeline,
                        "the source has been promoted; nothing is missing"
                    );
                    self.destination.remember(self.system, Some(lsn)).await?;
                }
                (lsn, "goes on where it was")
            }
            Start::Adopt(lsn) => {
                self.publish().await?;
                self.destination.remember(self.system, Some(lsn)).await?;
                (lsn, "begins where the slot does")
            }
            Start::CreateSlot => {
                self.destination.remember(self.system, None).await?;
                // The decoder wants the publication to be there at every change it comes across: it comes first.
                self.publish().await?;
                let lsn = self.create_slot().await?;
                self.destination.remember(self.system, Some(lsn)).await?;
                (lsn, "begins with a new slot")
            }
        };
        tracing::info!(%lsn, "{what}");
        Ok(lsn)
    }

    async fn publish(&self) -> Result<(), TrackError> {
        for statement in &self.setup.statements {
            self.source
                .batch_execute(statement)
                .await
                .map_err(|error| TrackError::from_client("source", error.into()))?;
            tracing::info!(statement, "set up");
        }
        Ok(())
    }

    async fn create_slot(&self) -> Result<Lsn, TrackError> {
        tracing::info!("making the slot, which waits for every transaction that is writing now");
        let statement = setup::create_slot(self.facts.server.version_num, self.destination.slot());
        Ok(source::create_slot(&self.source, &statement).await?)
    }

    async fn go_on_behind(&self, gap: Gap, shared: &Shared) -> Result<Lsn, TrackError> {
        let to = match gap.to {
            Some(to) => {
                self.publish().await?;
                to
            }
            None => {
                if self.facts.slot.is_some() {
                    let slot = &shared.config.track.slot;
                    self.source
                        .execute("SELECT pg_catalog.pg_drop_replication_slot($1)", &[slot])
                        .await
                        .map_err(|error| TrackError::from_client("source", error.into()))?;
                }
                self.publish().await?;
                self.create_slot().await?
            }
        };
        self.destination.accept(&gap, self.system, to).await?;
        let from = gap.from.map(|lsn| lsn.to_string()).unwrap_or_default();
        tracing::warn!(from, %to, reason = %gap.reason, "goes on behind a gap, which changes_gaps tells");
        Ok(to)
    }

    /// Streams until something fails, or `stop` says so.
    ///
    /// # Errors
    /// [`TrackError`]
    pub async fn stream(
        self,
        shared: &Shared,
        endpoints: &Endpoints,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Ended, TrackError> {
        let track = &shared.config.track;
        let settings = self.settings(shared);
        let options = [
            ("proto_version", "1"),
            ("publication_names", &*setup::quoted(&track.publication)),
            ("messages", "true"),
        ];
        let stream = self
            .replication
            .start(&track.slot, self.start, &options, message_budget(track))
            .await?;
        let stored = watch::Sender::new(self.start);
        let watched = stored.subscribe();
        let catalog = SourceCatalog::new(endpoints.source(&shared.config).await?, Handle::current());
        let (batches, input) = mpsc::unbounded_channel();
        let (events, queue) = mpsc::channel(QUEUED_EVENTS);
        let assembler = Assembler::new(settings, catalog);
        let assembled = start_assembler(input, assembler, events)?;
        let interval = status_interval(track, &self.facts);
        let mut pump = Pump::new(
            stream,
            batches,
            message_budget(track),
            watched,
            Arc::clone(&shared.stats),
            interval,
        );
        // The store's own session will be in the middle of something.
        let client = endpoints.destination(&shared.config).await?;
        let tables = Tables {
            client: self.source,
            destination: Destination::new(client, track, &self.facts.server.database),
            shared,
            own_schema: self.own_schema,
            is_needed: self.setup.lists_tables,
        };
        let stats = Arc::clone(&shared.stats);
        let store = Store::new(
            self.destination,
            stored,
            stats,
            track.flush_interval,
            track.status_interval,
        );
        pump.run(tokio::spawn(store.run(queue)), assembled, tables, stop)
            .await
    }

    fn settings(&self, shared: &Shared) -> Settings {
        Settings {
            origin: Origin {
                system_identifier: self.system.identifier,
                timeline: self.system.timeline,
            },
            database: self.facts.server.database.clone(),
            rules: Arc::clone(&shared.rules),
            own_tables: self.own_schema.clone().map(|schema| OwnTables { schema }),
            max_context_bytes: shared.config.track.max_context_bytes,
            encoding: self.facts.encoding,
        }
    }
}

/// What the assembler's thread ends with.
type Assembled = Result<(), AssembleError<tokio_postgres::Error>>;

/// Starts the thread that makes events of batches. Dropping the batches' sender ends it.
fn start_assembler(
    input: UnboundedReceiver<Received>,
    assembler: Assembler<SourceCatalog>,
    events: Sender<Event>,
) -> Result<oneshot::Receiver<Assembled>, TrackError> {
    let (report, assembled) = oneshot::channel();
    std::thread::Builder::new()
        .name("bemi-assembler".into())
        .spawn(move || {
            // Nobody listens when the session has failed otherwise.
            _ = report.send(assemble(input, assembler, events));
        })
        .map_err(|error| TrackError::System(format!("cannot start a thread: {error}")))?;
    Ok(assembled)
}

/// Answers come well before the source gives up on us.
fn status_interval(track: &Track, facts: &SourceFacts) -> Duration {
    match facts.sender_timeout_ms {
        0 => track.status_interval,
        timeout => track
            .status_interval
            .min(Duration::from_millis(timeout / 3).max(Duration::from_millis(50))),
    }
}

#[cfg(test)]
mod tests {
    use super::{PERMIT_BYTES, message_budget};
    use crate::config::Track;

    #[test]
    fn the_longest_message_finds_enough_permits_under_any_limit() {
        for limit in [
            64 << 20,
            (64 << 20) + 1,
            (64 << 20) + 2 * PERMIT_BYTES - 1,
            268_435_457,
        ] {
            let track = Track {
                memory_limit_bytes: limit,
                ..Track::default()
            };
            let budget = message_budget(&track);
            assert!(budget.div_ceil(PERMIT_BYTES) <= budget / PERMIT_BYTES);
            assert!(budget <= limit / 2);
        }
    }
}
