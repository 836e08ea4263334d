//! One connection to source and destination, from login to the first thing that fails.
//!
//! ```text
//!   source ── stream ──> pump ── Received ──> thread (assembler) ── Event ──> store ── COPY ──> destination
//!      ^                  | ^                                                   |
//!      +── status ────────+ +────────────────── stored: Lsn ────────────────────+
//! ```
//!
//! **Memory.** Before the pump reads a message it takes as many permits as the message has bytes; the assembler gives them
//! back when it is done with it. So there are never more than [`Budget`] bytes of messages, be it many small ones or a large
//! one. Behind the assembler wait a few pieces of fixed size.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_postgres::Client;

use super::assembler::{AssembleError, Assembler, OwnTables, Settings};
use super::destination::{Destination, DestinationError};
use super::error::TrackError;
use super::gap::{Gap, GapReason, Start, fork_of, judge};
use super::id::Origin;
use super::pipeline::{QUEUED_EVENTS, Received, assemble};
use super::report::Stats;
use super::rules::Rules;
use super::setup::{self, Setup, SourceFacts, TopTable, add_tables, wanted_tables};
use super::source::{self, SourceCatalog};
use super::store::Store;
use crate::client;
use crate::config::{Config, Track};
use crate::proxy::stream::Keepalive;
use crate::proxy::upstream::Upstream;
use crate::replication::connection::{ReplicationConnection, System};
use crate::replication::stream::ReplicationStream;
use crate::replication::{Lsn, Timestamp};
use crate::tls::upstream::UpstreamTls;

/// What `pg_stat_activity` and `pg_stat_replication` show.
pub const APPLICATION_NAME: &str = "bemi track";

/// Read from the socket at once: permits for less are not asked for.
const READ_BYTES: usize = 256 << 10;

/// Permits are counted in these.
const PERMIT_BYTES: usize = 1 << 10;

/// Why a table has a gap.
const ADDED_LATER: &str = "the table was made after the publication, which lists its tables, and added to it then; what \
     changed in it before is not recorded";

/// Between two messages to the source about progress, where it does not ask.
const MIN_STATUS_INTERVAL: Duration = Duration::from_millis(500);

/// The part of the memory limit that messages may take up, in bytes. The rest is for what they become, and for the process.
/// A whole number of permits: one that takes all of it must not wait for a permit that does not exist.
pub fn message_budget(track: &Track) -> usize {
    track.memory_limit_bytes / 2 / PERMIT_BYTES * PERMIT_BYTES
}

/// Source and destination, as the configuration names them.
#[derive(Debug)]
pub struct Endpoints {
    source: Arc<Upstream>,
    destination: Arc<Upstream>,
}

impl Endpoints {
    /// Reads the certificates. `home` is where `.postgresql/root.crt` and the like are looked for.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn new(config: &Config, home: Option<&std::path::Path>) -> Result<Self, TrackError> {
        let limits = &config.limits;
        let keepalive = Keepalive {
            enabled: !limits.tcp_keepalive_idle.is_zero(),
            idle: limits.tcp_keepalive_idle,
            interval: limits.tcp_keepalive_interval,
            count: limits.tcp_keepalive_retries,
            user_timeout: None,
        };
        let upstream = |url| {
            let tls = UpstreamTls::build(url, home)
                .map_err(|error| TrackError::Configuration(error.to_string()))?;
            Ok::<_, TrackError>(Upstream::new(
                url,
                tls,
                keepalive,
                config.upstream.connect_timeout,
            ))
        };
        Ok(Self {
            source: upstream(&config.upstream.url)?,
            destination: upstream(destination_url(config))?,
        })
    }

    /// An ordinary session on the source.
    ///
    /// # Errors
    /// [`TrackError`]
    pub async fn source(&self, config: &Config) -> Result<Client, TrackError> {
        client::connect(&self.source, &config.upstream.url, APPLICATION_NAME)
            .await
            .map_err(|error| TrackError::from_client("source", error))
    }

    /// An ordinary session on the destination.
    ///
    /// # Errors
    /// [`TrackError`]
    pub async fn destination(&self, config: &Config) -> Result<Client, TrackError> {
        client::connect(&self.destination, destination_url(config), APPLICATION_NAME)
            .await
            .map_err(|error| TrackError::from_client("destination", error))
    }

    async fn replication(&self, config: &Config) -> Result<ReplicationConnection, TrackError> {
        Ok(ReplicationConnection::connect(&self.source, &config.upstream.url, APPLICATION_NAME).await?)
    }
}

/// Where `changes` is: another database, or the source itself.
fn destination_url(config: &Config) -> &crate::config::url::UpstreamUrl {
    if config.track.destination.hosts.is_empty() {
        &config.upstream.url
    } else {
        &config.track.destination
    }
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
    pub accept_gap: std::sync::atomic::AtomicBool,
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
                if shared
                    .accept_gap
                    .swap(false, std::sync::atomic::Ordering::Relaxed)
                {
                    self.go_on_behind(gap, shared).await
                } else {
                    Err(TrackError::Gap(gap))
                }
            }
        }
    }

    async fn begin(&self, start: Start, timeline: Option<u32>) -> Result<Lsn, TrackError> {
        let (lsn, what) = match start {
            Start::Resume(lsn) => {
                self.publish().await?;
                for table in &self.setup.added {
                    let table = (&*table.schema, &*table.name);
                    let until = source::log_end(&self.source).await?;
                    self.destination
                        .write_gap(Some(table), Some(lsn), Some(until), ADDED_LATER)
                        .await?;
                }
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
        let settings = Settings {
            origin: Origin {
                system_identifier: self.system.identifier,
                timeline: self.system.timeline,
            },
            database: self.facts.server.database.clone(),
            rules: Arc::clone(&shared.rules),
            own_tables: self.own_schema.clone().map(|schema| OwnTables { schema }),
            max_context_bytes: track.max_context_bytes,
        };
        let (batches, input) = mpsc::unbounded_channel();
        let (events, queue) = mpsc::channel(QUEUED_EVENTS);
        let store = Store::new(
            self.destination,
            stored,
            Arc::clone(&shared.stats),
            track.flush_interval,
            track.status_interval,
        );
        let (report, assembled) = oneshot::channel();
        std::thread::Builder::new()
            .name("bemi-assembler".into())
            .spawn(move || {
                // Nobody listens when the session has failed otherwise.
                _ = report.send(assemble(input, Assembler::new(settings, catalog), events));
            })
            .map_err(|error| TrackError::System(error.to_string()))?;
        let mut pump = Pump {
            stream,
            batches: Some(batches),
            budget: Arc::new(Semaphore::new(message_budget(track) / PERMIT_BYTES)),
            permit: None,
            stored: watched,
            stats: Arc::clone(&shared.stats),
            status_interval: status_interval(track, &self.facts),
            last_status: Instant::now(),
            status_due: Instant::now(),
        };
        let tables = Tables {
            client: self.source,
            shared,
            destination: Destination::new(
                endpoints.destination(&shared.config).await?,
                track,
                &self.facts.server.database,
            ),
            own_schema: self.own_schema,
            is_needed: self.setup.lists_tables,
        };
        let storing = tokio::spawn(store.run(queue));
        pump.run(storing, assembled, tables, stop).await
    }
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

/// Whether both sessions are in the same database of the same server: no two servers start in the same microsecond.
async fn is_same_database(source: &Client, destination: &Client) -> Result<bool, TrackError> {
    const WHERE: &str = "SELECT pg_catalog.pg_postmaster_start_time() || ' ' || oid FROM pg_catalog.pg_database \
         WHERE datname = pg_catalog.current_database()";
    let mut places: Vec<String> = Vec::new();
    for (client, whose) in [(source, "source"), (destination, "destination")] {
        let place = client.query_one(WHERE, &[]).await.and_then(|row| row.try_get(0));
        places.push(place.map_err(|error| TrackError::from_client(whose, error.into()))?);
    }
    Ok(places.first() == places.last())
}

/// Moves batches from the stream to the assembler, and answers the source.
struct Pump {
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
    AssemblerEnded(Result<Result<(), AssembleError<tokio_postgres::Error>>, oneshot::error::RecvError>),
    Status,
    Stored,
    Permit(Option<OwnedSemaphorePermit>),
    Read(Result<(), crate::replication::connection::ReplicationError>),
    LookForTables,
}

impl Pump {
    async fn run(
        &mut self,
        mut storing: JoinHandle<Result<(), DestinationError>>,
        mut assembled: oneshot::Receiver<Result<(), AssembleError<tokio_postgres::Error>>>,
        tables: Tables<'_>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Ended, TrackError> {
        let mut look = interval(tables.shared.config.track.tables_interval);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                Step::LookForTables => tables.look(*self.stored.borrow()).await?,
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
            self.send_status().await?;
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

/// Adds new tables to a publication that lists its tables.
struct Tables<'a> {
    client: Client,
    /// For what is written down about them: the store's session is in the middle of something.
    destination: Destination,
    shared: &'a Shared,
    own_schema: Option<String>,
    is_needed: bool,
}

impl Tables<'_> {
    async fn look(&self, stored: Lsn) -> Result<(), TrackError> {
        let track = &self.shared.config.track;
        let published = source::published(&self.client, &track.publication).await?;
        let tables = source::top_tables(&self.client).await?;
        let wanted = wanted_tables(&tables, &self.shared.rules, self.own_schema.as_deref());
        let new: Vec<&TopTable> = wanted
            .into_iter()
            .filter(|table| table.has_identity && table.is_ours && !published.contains(&table.quoted))
            .collect();
        let Some(statement) = add_tables(track, &new) else {
            return Ok(());
        };
        if let Err(error) = self.client.batch_execute(&statement).await {
            // It may have been dropped, or given away, since it was looked at.
            tracing::warn!(
                reason = client::reason(&error),
                "cannot add new tables to the publication"
            );
            return Ok(());
        }
        let until = source::log_end(&self.client).await?;
        for table in new {
            tracing::info!(table = table.quoted, "new, and followed from now on");
            let table = (&*table.schema, &*table.name);
            self.destination
                .write_gap(Some(table), Some(stored), Some(until), ADDED_LATER)
                .await?;
        }
        Ok(())
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
