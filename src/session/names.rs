//! Prepared statements and portals by name, ahead of the server's replies.
//!
//! A client that pipelines uses a name before the server has confirmed it, and the server may skip what defined
//! it after an error. So each definition is pending until its reply: look-ups see the pending ones first, an
//! error takes back those that were skipped, and a redefinition that is still in flight is not lost with them.
//!
//! What a name stands for is sure enough where the definition was sent in the group that uses it: they fail together.
//! A definition of an earlier group may fail alone, and then an older one counts, if there is one.
//!
//! Definitions are numbered as they are sent and leave from the front, so that a number tells by itself whether its
//! definition is still in flight, and where. Every transaction comes by here several times. So a few names are
//! compared one by one, and more are hashed fast; a seed for each session keeps its client from choosing names that
//! collide.

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use smallvec::SmallVec;

use super::queue::Queue;
use crate::prefetch::prefetch;

/// As many names are sooner compared than hashed.
const FEW: usize = 8;

/// Of as many names it is likely that one of them comes next. To fetch more takes longer than to wait for the one that does.
const LIKELY: usize = 2;

/// Where most are short enough to need no memory of their own: `S_1`, `P0_1`, `asyncpg_stmt_1`.
type Name = SmallVec<[u8; 16]>;

/// Definitions by name.
#[derive(Debug)]
pub struct Names<T> {
    /// Used by most transactions, and found without a hash.
    unnamed: Standing<T>,
    named: IndexMap<Name, Standing<T>, RandomState>,
    /// In flight, oldest first. The last one has the number `sent`.
    pending: Queue<Pending<T>>,
    /// How many definitions were sent so far.
    sent: u64,
}

/// What is known of one name.
#[derive(Debug)]
struct Standing<T> {
    confirmed: Option<T>,
    /// The number of the last definition sent, which may be in flight no longer; 0 for none.
    youngest: u64,
}

/// A definition in flight.
#[derive(Debug)]
struct Pending<T> {
    name: Name,
    /// `None` is a removal.
    definition: Option<T>,
    /// The group in which it was sent.
    group: u64,
}

impl<T> Standing<T> {
    fn confirmed(&self) -> Option<&T> {
        self.confirmed.as_ref()
    }
}

impl<T> Pending<T> {
    fn definition(&self) -> Option<&T> {
        self.definition.as_ref()
    }
}

impl<T> Default for Standing<T> {
    fn default() -> Self {
        Self {
            confirmed: None,
            youngest: 0,
        }
    }
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self {
            unnamed: Standing::default(),
            named: IndexMap::default(),
            pending: Queue::default(),
            sent: 0,
        }
    }
}

impl<T> Names<T> {
    /// Has the processor fetch what is in flight, or the place of what comes next, and what was defined first.
    pub fn prefetch(&self) {
        self.pending.prefetch(1);
        for (name, standing) in self.named.iter().take(LIKELY) {
            prefetch(name);
            prefetch(standing);
        }
    }

    /// Visits some of what the names stand for: what the next messages are likely to be about. However many names there are,
    /// it is a small number. A visitor, as a chain of iterators takes longer to ask for the next than to have it.
    pub fn for_each_likely(&self, mut visit: impl FnMut(&T)) {
        if let Some(unnamed) = &self.unnamed.confirmed {
            visit(unnamed);
        }
        if let Some(oldest) = self.pending.front().and_then(Pending::definition) {
            visit(oldest);
        }
        for standing in self.named.values().take(LIKELY) {
            if let Some(confirmed) = &standing.confirmed {
                visit(confirmed);
            }
        }
    }

    /// What the name will stand for if all that is in flight succeeds.
    pub fn get(&self, name: &[u8]) -> Option<&T> {
        let standing = self.standing(name)?;
        match self.place(standing.youngest).and_then(|at| self.pending.get(at)) {
            Some(pending) => pending.definition.as_ref(),
            None => standing.confirmed.as_ref(),
        }
    }

    /// Whether what the name stands for in this group depends on the fate of an earlier one.
    pub fn is_uncertain(&self, name: &[u8], group: u64) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        let Some(standing) = self.standing(name) else {
            return false;
        };
        let Some(at) = self.place(standing.youngest) else {
            return false;
        };
        let is_of_this_group = self
            .pending
            .get(at)
            .is_some_and(|youngest| youngest.group == group);
        let mut older = self.pending.iter().take(at);
        !is_of_this_group
            && (standing.confirmed.is_some()
                || older.any(|pending| pending.definition.is_some() && *pending.name == *name))
    }

    /// Whether any name is uncertain in this group, apart from the unnamed one.
    pub fn are_uncertain(&self, group: u64) -> bool {
        self.pending
            .iter()
            .any(|pending| !pending.name.is_empty() && self.is_uncertain(&pending.name, group))
    }

    /// A definition or removal (`None`) was sent to the server, in this group.
    pub fn send(&mut self, name: &[u8], definition: Option<T>, group: u64) {
        self.sent += 1;
        let standing = if name.is_empty() {
            &mut self.unnamed
        } else {
            self.named.entry(Name::from_slice(name)).or_default()
        };
        standing.youngest = self.sent;
        self.pending.push(Pending {
            name: Name::from_slice(name),
            definition,
            group,
        });
    }

    /// The server confirmed the oldest pending definition.
    pub fn confirm(&mut self) {
        let Some(oldest) = self.pending.pop() else {
            return;
        };
        if oldest.name.is_empty() {
            self.unnamed.confirmed = oldest.definition;
            return;
        }
        if let Some(standing) = self.named.get_mut(&oldest.name) {
            standing.confirmed = oldest.definition;
        }
        self.tidy(&oldest.name);
    }

    /// The server skipped the oldest `n` pending definitions.
    pub fn discard(&mut self, n: usize) {
        for _ in 0..n {
            let Some(skipped) = self.pending.pop() else {
                return;
            };
            self.tidy(&skipped.name);
        }
    }

    /// The last statement of a Query, which sent the oldest pending definition, failed: it, or the commit behind it, which
    /// is reported in its stead and leaves a prepared statement there (`exec_simple_query`).
    ///
    /// Where the name is taken it was the statement that failed. Where not, the definition is kept: at worst it is one
    /// of a statement that does not exist, which nothing can execute.
    pub fn settle_doubtful(&mut self) {
        let is_new = |oldest: &Pending<T>| {
            let standing = self.standing(&oldest.name);
            oldest.definition.is_some() && standing.is_none_or(|standing| standing.confirmed.is_none())
        };
        if self.pending.front().is_some_and(is_new) {
            self.confirm();
        } else {
            self.discard(1);
        }
    }

    /// All that any name stands for, or will.
    pub fn definitions(&self) -> impl Iterator<Item = &T> {
        let pending = self.pending.iter().filter_map(Pending::definition);
        self.standings().filter_map(Standing::confirmed).chain(pending)
    }

    /// All names, the unnamed one first.
    fn standings(&self) -> impl Iterator<Item = &Standing<T>> {
        std::iter::once(&self.unnamed).chain(self.named.values())
    }

    /// The server forgot everything it had confirmed, except the unnamed one if `keep_unnamed`.
    pub fn forget(&mut self, keep_unnamed: bool) {
        if !keep_unnamed {
            self.unnamed.confirmed = None;
        }
        if !self.named.is_empty() {
            let behind = self.left();
            self.named.retain(|_, standing| {
                standing.confirmed = None;
                standing.youngest > behind
            });
        }
    }

    fn standing(&self, name: &[u8]) -> Option<&Standing<T>> {
        if name.is_empty() {
            Some(&self.unnamed)
        } else if self.named.len() <= FEW {
            let mut named = self.named.iter();
            named
                .find(|(other, _)| other.as_slice() == name)
                .map(|(_, standing)| standing)
        } else {
            self.named.get(name)
        }
    }

    /// Where among the pending ones the definition of this number is.
    fn place(&self, number: u64) -> Option<usize> {
        let place = number.checked_sub(self.left() + 1)?;
        usize::try_from(place).ok()
    }

    /// How many definitions are in flight no longer; they have the numbers up to this one.
    fn left(&self) -> u64 {
        self.sent - self.pending.len() as u64
    }

    /// Forgets a name that stands for nothing.
    fn tidy(&mut self, name: &[u8]) {
        let behind = self.left();
        let is_nothing = |standing: &Standing<T>| standing.confirmed.is_none() && standing.youngest <= behind;
        if !name.is_empty() && self.named.get(name).is_some_and(is_nothing) {
            self.named.swap_remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pending_is_seen_before_what_is_confirmed() {
        let mut names = Names::default();
        names.send(b"s", Some(1), 1);
        names.confirm();
        names.send(b"s", Some(2), 1);
        assert_eq!(names.get(b"s"), Some(&2));
        names.discard(1);
        assert_eq!(names.get(b"s"), Some(&1));
    }

    #[test]
    fn a_skipped_definition_does_not_take_a_later_one_along() {
        let mut names = Names::default();
        names.send(b"s", Some(1), 1);
        names.send(b"s", Some(2), 1);
        names.discard(1);
        assert_eq!(names.get(b"s"), Some(&2));
        names.confirm();
        assert_eq!(names.get(b"s"), Some(&2));
    }

    #[test]
    fn a_pending_removal_hides_the_name() {
        let mut names = Names::default();
        names.send(b"s", Some(1), 1);
        names.confirm();
        names.send(b"s", None, 1);
        assert_eq!(names.get(b"s"), None);
        names.confirm();
        assert_eq!(names.get(b"s"), None);
    }

    #[test]
    fn a_redefinition_in_an_earlier_group_is_uncertain_and_a_first_definition_is_not() {
        let mut names = Names::default();
        names.send(b"s", Some(1), 1);
        assert!(!names.is_uncertain(b"s", 2));
        names.send(b"s", Some(2), 2);
        assert!(!names.is_uncertain(b"s", 2));
        assert!(names.is_uncertain(b"s", 3));
        names.confirm();
        assert!(names.is_uncertain(b"s", 3));
        names.confirm();
        names.send(b"other", Some(1), 3);
        assert!(!names.is_uncertain(b"s", 3));
        names.send(b"s", None, 3);
        assert!(names.is_uncertain(b"s", 4));
    }

    #[test]
    fn a_definition_whose_failure_may_be_that_of_the_commit_counts_where_the_name_was_free() {
        let mut names = Names::default();
        names.send(b"s", Some(1), 1);
        names.settle_doubtful();
        assert_eq!(names.get(b"s"), Some(&1));
        names.send(b"s", Some(2), 2);
        names.settle_doubtful();
        assert_eq!(names.get(b"s"), Some(&1));
        names.send(b"s", None, 3);
        names.settle_doubtful();
        assert_eq!(names.get(b"s"), Some(&1));
    }

    #[test]
    fn a_name_that_stands_for_nothing_takes_no_room() {
        let mut names = Names::default();
        names.send(b"skipped", Some(1), 1);
        names.send(b"closed", Some(1), 1);
        names.send(b"closed", None, 1);
        names.send(b"forgotten", Some(1), 1);
        names.discard(1);
        for _ in 0..3 {
            names.confirm();
        }
        names.send(b"forgotten", Some(2), 2);
        names.forget(false);
        assert_eq!(names.get(b"forgotten"), Some(&2));
        names.discard(1);
        assert_eq!(names.get(b"forgotten"), None);
        assert!(names.named.is_empty(), "{names:?}");
    }

    #[test]
    fn many_names_are_told_apart_as_few_are() {
        let name = |n: usize| format!("a name that is too long to stand by itself, or {n}").into_bytes();
        let mut names = Names::default();
        for n in 0..3 * FEW {
            names.send(&name(n), Some(n), 1);
            names.confirm();
            assert_eq!(names.get(&name(n)), Some(&n));
        }
        for gone in 0..3 * FEW {
            names.send(&name(gone), None, 2);
            names.confirm();
            for n in 0..3 * FEW {
                assert_eq!(names.get(&name(n)), (n > gone).then_some(&n));
            }
        }
        assert!(names.named.is_empty(), "{names:?}");
    }

    #[test]
    fn forgetting_can_spare_the_unnamed_one() {
        let mut names = Names::default();
        for name in [&b""[..], b"s"] {
            names.send(name, Some(1), 1);
            names.confirm();
        }
        names.forget(true);
        assert_eq!((names.get(b""), names.get(b"s")), (Some(&1), None));
    }
}
