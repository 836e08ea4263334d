//! The decisions of one connection: bytes of either side in, bytes for either side out.
//!
//! Problem: a write must be preceded, in its own transaction, by a message that carries the context of that
//! moment; the client must see nothing of it, and it must hold for every order in which clients speak the
//! protocol, pipelines and errors included.
//!
//! Mechanism: [`Session::on_client`] follows what the client sends and puts our messages ahead of its writes;
//! [`Session::on_server`] matches every reply with a queue of what was asked ([`replies`]) and takes ours out.
//! What a reply confirms moves a timeline of settings and transactions; a second timeline runs ahead of the
//! replies, so that a pipelined write finds the context it will be executed under.
//!
//! A write *waits* for earlier groups that are still in flight only when their failure would change its context.
//! Inside its own group it need not: what fails there takes the write along.
//!
//! Rejected: evaluating every payload on the server (`current_setting` inside the message). It is always right
//! without a pooler, but costs each write a JSON merge on the database, and behind a transaction pooler it
//! would read somebody else's setting. It is used for the one case that needs it: a value computed by an
//! expression in the very group of the write.

mod answers;
mod cache;
mod confirm;
pub mod edit;
mod extended;
mod inbound;
mod names;
pub mod ours;
mod outbound;
mod plan;
mod policy;
mod queue;
mod refusal;
mod replies;
mod simple;
mod verdict;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use names::Names;
use replies::{Kind, Replies, Reply};

pub use cache::VerdictCache;
pub use inbound::Progress;
pub use outbound::OutOfStep;
pub use policy::{Client, Policy};
pub use verdict::Verdict;

use crate::context::{Context, Effect, Timeline};
use crate::prefetch::prefetch;
use crate::sql::Dialect;
use crate::wire::encoding::ClientEncoding;

/// The state of one connection between its startup packet and its end.
#[derive(Debug)]
pub struct Session {
    policy: Arc<Policy>,
    verdicts: Arc<VerdictCache>,
    /// Needed at its beginning, and kept out of what a turn goes through.
    client: Box<Client>,
    /// The lowest layer of every context, if there is any.
    base: Option<Box<Context>>,
    dialect: Dialect,
    /// By which error positions are counted: the server counts in its own encoding, after it has converted the text.
    counting: ClientEncoding,
    server_encoding: ClientEncoding,
    /// A text that may change the dialect was sent, and neither its replies nor the end of its transaction, which
    /// may take the change back, have come.
    dialect_may_change: bool,
    in_hot_standby: bool,
    replies: Replies,
    confirmed: Timeline,
    /// What will be true if everything in flight succeeds; absent where that is what is confirmed.
    ahead: Option<Box<Timeline>>,
    statements: Names<Arc<Prepared>>,
    portals: Names<Portal>,
    reserved: Reserved,
    /// Counts how often the reserved statement was prepared.
    times_prepared: u64,
    /// Counts groups; what was sent in this one fails or succeeds together up to its failure.
    group: u64,
    group_is_open: bool,
    /// Messages of the extended protocol were sent behind the last Sync, even if a Query has ended their group since: should
    /// one of them fail, the server skips that Query as well.
    is_unsynced: bool,
    /// After an error, the server ignores all up to the next Sync, which the client has not sent yet.
    is_skipping: bool,
    /// COPY FROM STDIN is under way: the server ignores Sync and Flush.
    is_copying: bool,
    spare_syncs: SpareSyncs,
    /// An error came since the last ReadyForQuery.
    group_failed: bool,
    /// The end of a statement whose effect is being looked at: should that fail, it has failed.
    held_back: Vec<u8>,
    inbound_rest: Rest,
    outbound_rest: Rest,
    counters: Counters,
}

/// Syncs that were sent among the data of a COPY that failed. The server has ignored those that it read as a part of the
/// data, and answers the others: that many times ReadyForQuery may come before the answer to anything else.
#[derive(Debug, Clone, Copy, Default)]
struct SpareSyncs {
    count: usize,
    /// The failed COPY stood in a Query, whose own ReadyForQuery comes first.
    behind_query: bool,
}

/// What is left of a frame whose fate is decided but whose bytes are not all there yet.
#[derive(Debug, Clone, Copy, Default)]
struct Rest {
    keep: usize,
    drop: usize,
}

/// What a session has done, for its line in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Writes that got a message.
    pub contextualised: u64,
    /// Comments that claimed to be context and were none, and messages too long to look into.
    pub warnings: u64,
    /// Values for `bemi.context` that were refused.
    pub refusals: u64,
}

/// The state of the reserved prepared statement on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reserved {
    /// Not there.
    Absent,
    /// There or not: what removes it was sent, and may fail or be skipped.
    Unsure,
    /// Its Parse was sent in this group: if that fails, what follows in the group is skipped as well. Parses are
    /// counted, since one may be needed twice in a group.
    Sent { group: u64, serial: u64 },
    /// Its ParseComplete came.
    Ready,
}

/// A prepared statement of the client.
#[derive(Debug)]
struct Prepared {
    verdict: Arc<Verdict>,
    /// The statement of the text: not 0 for a PREPARE inside a longer Query.
    index: usize,
    /// Whether a PREPARE made it, and not a Parse.
    is_sql_level: bool,
    /// The group that prepared it.
    group: u64,
    was_executed: AtomicBool,
}

/// A portal of the client. Nearly every transaction makes one, so it is small and stands among the names by itself.
#[derive(Debug, Clone)]
struct Portal {
    prepared: Arc<Prepared>,
    /// What it does to `bemi.context`, with its parameters known.
    assignment: Option<Arc<verdict::Assignment>>,
    was_started: Cell<bool>,
}

impl Session {
    /// A session whose startup packet was just sent to the server.
    pub fn new(
        policy: Arc<Policy>,
        verdicts: Arc<VerdictCache>,
        client: Client,
        startup: Option<Arc<Context>>,
    ) -> Self {
        let mut replies = Replies::default();
        replies.push(Reply::client(Kind::Startup));
        Self {
            base: client.base(&policy),
            policy,
            verdicts,
            client: Box::new(client),
            dialect: Dialect::default(),
            counting: ClientEncoding::default(),
            server_encoding: ClientEncoding::default(),
            dialect_may_change: false,
            in_hot_standby: false,
            replies,
            confirmed: Timeline::new(startup),
            ahead: None,
            statements: Names::default(),
            portals: Names::default(),
            reserved: Reserved::Absent,
            times_prepared: 0,
            group: 0,
            group_is_open: false,
            is_unsynced: false,
            is_skipping: false,
            is_copying: false,
            spare_syncs: SpareSyncs::default(),
            group_failed: false,
            held_back: Vec::new(),
            inbound_rest: Rest::default(),
            outbound_rest: Rest::default(),
            counters: Counters::default(),
        }
    }

    /// What it has done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether the server owes nothing and no transaction is open: the moment to end a session politely.
    pub fn is_idle(&self) -> bool {
        let between_frames = self.outbound_rest.keep == 0 && self.inbound_rest.keep == 0;
        let in_block = self.confirmed.in_explicit_block() || self.confirmed.in_failed_transaction();
        self.replies.is_empty() && !in_block && !self.group_is_open && between_frames
    }

    /// Has the processor fetch what the next messages are noted down in. The session itself is there by now.
    pub fn prefetch(&self) {
        self.replies.prefetch();
        self.statements.prefetch();
        self.portals.prefetch();
    }

    /// Has the processor fetch the statements that the next messages are likely to be about. What [`Session::prefetch`]
    /// asked for is there by now.
    pub fn prefetch_statements(&self) {
        self.statements.for_each_likely(|prepared| prefetch(&**prepared));
        self.portals.for_each_likely(|portal| prefetch(&*portal.prepared));
    }

    /// The timeline as it will be if everything in flight succeeds.
    fn current(&self) -> &Timeline {
        self.ahead.as_deref().unwrap_or(&self.confirmed)
    }

    fn advance(&mut self, effect: &Effect) {
        self.ahead_mut().apply(effect);
    }

    fn ahead_mut(&mut self) -> &mut Timeline {
        self.ahead.get_or_insert_with(|| Box::new(self.confirmed.clone()))
    }

    /// A message was sent for the client or for us; what will follow from it is counted on from now.
    fn sent(&mut self, reply: Reply) {
        if reply.may_have_effects() {
            reply.for_each_effect(|effect| self.advance(effect));
        }
        let is_boundary = reply.is_boundary();
        self.is_unsynced = !matches!(reply.kind, Kind::Sync) && (self.is_unsynced || !is_boundary);
        self.close_group_if(is_boundary);
        self.replies.push(reply);
    }

    fn close_group_if(&mut self, is_boundary: bool) {
        if !is_boundary {
            self.group_is_open = true;
            return;
        }
        self.group += 1;
        self.group_is_open = false;
        if !self.current().is_settled() {
            self.ahead_mut().assume_end_of_group();
        }
    }

    /// Works out the timeline that runs ahead anew, after an error took part of what it counted on.
    fn look_ahead_again(&mut self) {
        self.ahead = None;
        if self.replies.is_empty() {
            return;
        }
        let mut timeline = self.confirmed.clone();
        for reply in self.replies.iter() {
            reply.for_each_effect(|effect| timeline.apply(effect));
            if reply.is_boundary() {
                timeline.assume_end_of_group();
            }
        }
        self.ahead = Some(Box::new(timeline));
    }
}
