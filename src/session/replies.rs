//! The queue of replies that the server owes, and whose they are.
//!
//! The server answers in order. So one entry per message sent tells what the next reply answers: something the
//! client asked (forward it), or something we asked (swallow it). An error in the extended protocol makes the
//! server skip everything up to the next Sync, and with it the entries up to that Sync
//! (`ignore_till_sync` in `postgres.c`).

use std::collections::VecDeque;

use super::queue::Queue;
use super::refusal::Refusal;
use crate::context::{Effect, Scope, Value};
use crate::wire::response::Response;

/// Who asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Owner {
    /// The client: its replies are forwarded.
    Client,
    /// We: the message ahead of a write.
    Message,
    /// We: the look at a setting whose value only the server knows. An error says that the value is no context.
    Probe,
    /// We: a statement that fails in place of a SET that must not succeed; the client reads this instead.
    Refusal(Box<Refusal>),
    /// We: preparing and closing what the others need.
    Housekeeping,
}

impl Owner {
    /// Whether the client asked.
    pub fn is_client(&self) -> bool {
        matches!(self, Self::Client)
    }
}

/// What follows from a success, besides the reply itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The timeline moves on.
    Timeline(Effect),
    /// A prepared statement is defined or removed: the oldest pending one.
    Statement,
    /// A portal is defined or removed: the oldest pending one.
    Portal,
    /// DEALLOCATE ALL.
    DeallocateAll,
    /// DISCARD ALL.
    DiscardAll,
    /// Our own statement is prepared, by the Parse of this number.
    Prepared { serial: u64 },
    /// Our own statement is closed.
    Hidden,
    /// The setting may have been set, to the value found afterwards; `scope` says for how long, if it was.
    MaybeSet { scope: Option<Scope>, found: Value },
}

impl Outcome {
    /// What it does to the timeline.
    pub fn effect(&self) -> Option<&Effect> {
        const DISCARD_ALL: Effect = Effect::Discard;
        const UNKNOWN: Effect = Effect::Set(Scope::Session, Value::OnServer);
        match self {
            Self::Timeline(effect) => Some(effect),
            Self::DiscardAll => Some(&DISCARD_ALL),
            Self::MaybeSet { .. } => Some(&UNKNOWN),
            Self::Statement | Self::Portal | Self::DeallocateAll | Self::Prepared { .. } | Self::Hidden => {
                None
            }
        }
    }
}

/// One statement of a simple Query.
#[derive(Debug, PartialEq)]
pub struct Slot {
    pub owner: Owner,
    pub outcome: Option<Outcome>,
}

impl Slot {
    /// Whether anything follows from its success, or its replies are not the client's.
    pub fn matters(&self) -> bool {
        !self.owner.is_client() || self.outcome.is_some()
    }
}

/// Where something was put into a Query's text, in characters of the text as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insertion {
    pub at: usize,
    pub len: usize,
}

/// The statements of a simple Query, as far as any of them matters.
#[derive(Debug, Default, PartialEq)]
pub struct QueryReplies {
    pub slots: VecDeque<Slot>,
    pub insertions: Vec<Insertion>,
}

/// What kind of replies an entry waits for.
#[derive(Debug, PartialEq)]
pub enum Kind {
    /// Everything up to the first ReadyForQuery.
    Startup,
    Parse,
    Bind,
    Describe,
    Execute,
    Close,
    Sync,
    /// Up to ReadyForQuery; `None` when no statement of it matters.
    Query(Option<Box<QueryReplies>>),
    /// Up to ReadyForQuery.
    FunctionCall,
    /// Nothing: Syncs among COPY data, so many in a row. Where COPY fails before the server gets there, each is answered
    /// like any other; only what comes then tells.
    SyncInCopy(usize),
    /// Nothing: CopyDone or CopyFail, which ends what makes the server ignore a Sync; how many of them in a row.
    EndOfCopy(usize),
    /// Nothing: a warning of ours that goes out when its turn comes.
    Notice(Box<Response>),
}

/// One entry of the queue.
#[derive(Debug, PartialEq)]
pub struct Reply {
    pub owner: Owner,
    pub kind: Kind,
    pub outcome: Option<Outcome>,
}

impl Reply {
    /// A reply the client waits for and nothing follows from.
    pub fn client(kind: Kind) -> Self {
        Self {
            owner: Owner::Client,
            kind,
            outcome: None,
        }
    }

    /// Whether the server ends it with ReadyForQuery.
    pub fn is_boundary(&self) -> bool {
        matches!(
            self.kind,
            Kind::Sync | Kind::Query(_) | Kind::FunctionCall | Kind::Startup
        )
    }

    fn ends_copy(&self) -> bool {
        matches!(self.kind, Kind::EndOfCopy(_))
    }

    /// Whether the server skips it, after an error, on its way to the next Sync.
    fn is_skipped_after_error(&self) -> bool {
        !matches!(self.kind, Kind::Sync | Kind::SyncInCopy(_))
    }

    /// Everything that would follow from its success, in order. A visitor, as a chain of iterators asks each of its parts,
    /// and most replies have nothing in any.
    fn for_each_outcome(&self, mut visit: impl FnMut(&Outcome)) {
        if let Some(outcome) = &self.outcome {
            visit(outcome);
        }
        if let Kind::Query(Some(query)) = &self.kind {
            let outcomes = query.slots.iter().filter_map(|slot| slot.outcome.as_ref());
            outcomes.for_each(visit);
        }
    }

    /// Whether its success may do anything to the timeline. Of nearly all replies it does not, and that is told here without
    /// a call.
    #[inline]
    pub fn may_have_effects(&self) -> bool {
        !matches!(self.outcome, None | Some(Outcome::Statement | Outcome::Portal))
            || matches!(self.kind, Kind::Query(Some(_)))
    }

    /// Everything its success would do to the timeline, in order.
    pub fn for_each_effect(&self, mut visit: impl FnMut(&Effect)) {
        self.for_each_outcome(|outcome| {
            if let Some(effect) = outcome.effect() {
                visit(effect);
            }
        });
    }
}

/// How many outcomes in flight change the setting, and how many start, end or divide a transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Census {
    settings: usize,
    transactions: usize,
}

impl Census {
    fn of(reply: &Reply) -> Self {
        let mut census = Self::default();
        reply.for_each_effect(|effect| census.add(Self::of_effect(effect)));
        census
    }

    fn of_effect(effect: &Effect) -> Self {
        Self {
            settings: usize::from(effect.changes_setting()),
            transactions: usize::from(effect.controls_transaction()),
        }
    }

    fn add(&mut self, other: Self) {
        self.settings += other.settings;
        self.transactions += other.transactions;
    }

    fn subtract(&mut self, other: Self) {
        self.settings = self.settings.saturating_sub(other.settings);
        self.transactions = self.transactions.saturating_sub(other.transactions);
    }
}

/// The queue. A *group* is what one Sync or one Query ends; the *open* group has no end yet.
#[derive(Debug, Default)]
pub struct Replies {
    queue: Queue<Reply>,
    boundaries: usize,
    closed: Census,
    open: Census,
    /// Whether there are Syncs among COPY data.
    has_syncs_in_copy: bool,
}

impl Replies {
    /// Whether the server owes nothing.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Has the processor fetch the entries at the front, or the place of those to come.
    pub fn prefetch(&self) {
        /// Bind, Describe, Execute, Sync.
        const OF_ONE_STATEMENT: usize = 4;
        self.queue.prefetch(OF_ONE_STATEMENT);
    }

    /// How many entries wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// What the next reply answers.
    pub fn front(&self) -> Option<&Reply> {
        self.queue.front()
    }

    /// What the next reply answers.
    pub fn front_mut(&mut self) -> Option<&mut Reply> {
        self.queue.front_mut()
    }

    /// Whether a look at what the statement just completed did comes next: a Close of ours, then the look itself.
    pub fn probe_is_next(&self) -> bool {
        let mut next = self.queue.iter().take_while(|reply| !reply.owner.is_client());
        next.nth(1)
            .is_some_and(|reply| matches!(reply.owner, Owner::Probe))
    }

    /// All entries, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Reply> {
        self.queue.iter()
    }

    /// A message was sent.
    #[inline]
    pub fn push(&mut self, reply: Reply) {
        if reply.may_have_effects() {
            self.open.add(Census::of(&reply));
        }
        if reply.is_boundary() {
            self.closed.add(self.open);
            self.open = Census::default();
            self.boundaries += 1;
        }
        self.queue.push(reply);
    }

    /// The client says that its COPY data ends. Where nothing is in flight there is no COPY for it to end. It has no
    /// reply, so that any number of them makes one entry: nothing would ever make room for more.
    pub fn end_copy(&mut self) {
        match self.queue.back_mut() {
            None => {}
            Some(Reply {
                kind: Kind::EndOfCopy(times),
                ..
            }) => *times += 1,
            Some(_) => self.push(Reply::client(Kind::EndOfCopy(1))),
        }
    }

    /// The client says Sync while it sends COPY data. That has no reply, mostly, and so any number of them makes one entry.
    pub fn sync_in_copy(&mut self) {
        self.has_syncs_in_copy = true;
        match self.queue.back_mut().map(|reply| &mut reply.kind) {
            Some(Kind::SyncInCopy(times)) => *times += 1,
            _ => self.push(Reply::client(Kind::SyncInCopy(1))),
        }
    }

    /// COPY is over. Returns how many Syncs were sent among its data: if it succeeded, the server has ignored them; if it
    /// failed, it will answer those that it had not come to.
    pub fn take_syncs_in_copy(&mut self) -> usize {
        if !std::mem::take(&mut self.has_syncs_in_copy) {
            return 0;
        }
        let mut taken = 0;
        self.queue.retain(|reply| match reply.kind {
            Kind::SyncInCopy(times) => {
                taken += times;
                false
            }
            _ => true,
        });
        taken
    }

    /// The front entry is answered in full. An end of COPY data behind it was for a COPY that did not come. Returns what
    /// follows from it, to be carried out.
    pub fn pop(&mut self) -> Option<Outcome> {
        let front = self.queue.front_mut()?;
        let census = front.may_have_effects().then(|| Census::of(front));
        let is_boundary = front.is_boundary();
        let outcome = front.outcome.take();
        self.queue.drop_front();
        if let Some(census) = census {
            self.forget(census);
        }
        self.boundaries -= usize::from(is_boundary);
        if self.front().is_some_and(Reply::ends_copy) {
            self.queue.drop_front();
        }
        outcome
    }

    /// The current statement of the Query at the front is answered in full. Returns what follows from it, to be carried out.
    pub fn pop_slot(&mut self) -> Option<Outcome> {
        let Some(Kind::Query(Some(query))) = self.queue.front_mut().map(|front| &mut front.kind) else {
            return None;
        };
        let outcome = query.slots.pop_front()?.outcome?;
        if let Some(effect) = outcome.effect() {
            let census = Census::of_effect(effect);
            self.forget(census);
        }
        Some(outcome)
    }

    fn forget(&mut self, census: Census) {
        if self.boundaries == 0 {
            self.open.subtract(census);
        } else {
            self.closed.subtract(census);
        }
    }

    /// Removes what the server skips after an error, up to the next Sync. Where none is in the queue yet, the server goes
    /// on skipping what comes.
    pub fn discard_to_sync(&mut self) -> Discarded {
        let mut discarded = Discarded::default();
        while let Some(front) = self.queue.front() {
            if !front.is_skipped_after_error() {
                discarded.found_sync = true;
                break;
            }
            discarded.count(front);
            self.pop();
        }
        discarded
    }

    /// COPY FROM STDIN has begun: the server ignores the Syncs that were sent behind it before the end of its
    /// data (`CopyGetData` in `copyfromparse.c`), as far as it gets. Returns whether that end was sent already, or
    /// something that has no place among the data: it ends the session, or COPY has failed by then.
    pub fn ignore_syncs_during_copy(&mut self) -> bool {
        let syncs_of = |reply: &Reply| match reply.kind {
            Kind::Sync => Some(1),
            Kind::SyncInCopy(times) => Some(times),
            _ => None,
        };
        let behind = self.queue.iter().skip(1).map_while(syncs_of);
        let (places, syncs) = behind.fold((0, 0), |(places, syncs), times| (places + 1, syncs + times));
        let has_end = self.queue.len() > 1 + places;
        if places > 0 {
            // One entry for all: the client may send the COPY data behind them only where the queue has room.
            self.queue.remove(2..=places);
            if let Some(reply) = self.queue.get_mut(1) {
                reply.kind = Kind::SyncInCopy(syncs);
            }
            self.has_syncs_in_copy = true;
        }
        let end = 1 + places.min(1);
        match self.queue.get_mut(end).map(|reply| &mut reply.kind) {
            Some(Kind::EndOfCopy(times)) if *times > 1 => *times -= 1,
            Some(Kind::EndOfCopy(_)) => self.queue.remove(end..=end),
            Some(_) | None => {}
        }
        self.recount();
        has_end
    }

    /// The Query at the front failed: none of its remaining statements will run. Returns how many of them would
    /// have defined or removed a prepared statement.
    pub fn clear_slots(&mut self) -> usize {
        let Some(Kind::Query(Some(query))) = self.queue.front_mut().map(|front| &mut front.kind) else {
            return 0;
        };
        let skipped = query
            .slots
            .drain(..)
            .filter(|slot| slot.outcome == Some(Outcome::Statement))
            .count();
        self.recount();
        skipped
    }

    fn recount(&mut self) {
        (self.closed, self.open, self.boundaries) = (Census::default(), Census::default(), 0);
        for reply in self.queue.iter() {
            self.open.add(Census::of(reply));
            if reply.is_boundary() {
                self.closed.add(self.open);
                self.open = Census::default();
                self.boundaries += 1;
            }
        }
    }

    /// Whether groups that are complete still wait for their end.
    pub fn has_closed_groups(&self) -> bool {
        self.boundaries > 0
    }

    /// Whether a complete group in flight may change the setting.
    pub fn closed_groups_change_setting(&self) -> bool {
        self.closed.settings > 0
    }

    /// Whether the group that is being sent may start, end or divide a transaction.
    pub fn open_group_controls_transaction(&self) -> bool {
        self.open.transactions > 0
    }

    /// Whether a complete group in flight may start, end or divide a transaction.
    pub fn closed_groups_control_transaction(&self) -> bool {
        self.closed.transactions > 0
    }
}

/// What an error took out of the queue.
#[derive(Debug, Default)]
pub struct Discarded {
    /// How many definitions or removals of prepared statements will not come.
    pub statements: usize,
    /// How many of portals.
    pub portals: usize,
    /// Whether the Sync that ends the skipping was sent already.
    pub found_sync: bool,
}

impl Discarded {
    fn count(&mut self, reply: &Reply) {
        reply.for_each_outcome(|outcome| match outcome {
            Outcome::Statement => self.statements += 1,
            Outcome::Portal => self.portals += 1,
            Outcome::Timeline(_)
            | Outcome::DeallocateAll
            | Outcome::DiscardAll
            | Outcome::Prepared { .. }
            | Outcome::Hidden
            | Outcome::MaybeSet { .. } => {}
        });
    }
}

#[cfg(test)]
mod tests;
