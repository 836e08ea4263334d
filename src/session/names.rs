//! Prepared statements and portals by name, ahead of the server's replies.
//!
//! A client that pipelines uses a name before the server has confirmed it, and the server may skip what defined
//! it after an error. So each definition is pending until its reply: look-ups see the pending ones first, an
//! error takes back those that were skipped, and a redefinition that is still in flight is not lost with them.
//!
//! What a name stands for is sure enough where the definition was sent in the group that uses it: they fail together.
//! A definition of an earlier group may fail alone, and then an older one counts, if there is one.

use std::collections::{HashMap, VecDeque};

/// Definitions by name; `T` is cheap to clone.
#[derive(Debug)]
pub struct Names<T> {
    confirmed: HashMap<Box<[u8]>, T>,
    pending: VecDeque<Pending<T>>,
    /// The youngest pending definition of each name.
    ahead: HashMap<Box<[u8]>, Pending<T>>,
    sent: u64,
}

/// A definition in flight.
#[derive(Debug, Clone)]
struct Pending<T> {
    name: Box<[u8]>,
    /// `None` is a removal.
    definition: Option<T>,
    /// The group in which it was sent.
    group: u64,
    /// Counts definitions.
    serial: u64,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self {
            confirmed: HashMap::new(),
            pending: VecDeque::new(),
            ahead: HashMap::new(),
            sent: 0,
        }
    }
}

impl<T: Clone> Names<T> {
    /// What the name will stand for if all that is in flight succeeds.
    pub fn get(&self, name: &[u8]) -> Option<&T> {
        match self.ahead.get(name) {
            Some(pending) => pending.definition.as_ref(),
            None => self.confirmed.get(name),
        }
    }

    /// Whether what the name stands for in this group depends on the fate of an earlier one.
    pub fn is_uncertain(&self, name: &[u8], group: u64) -> bool {
        let Some(youngest) = self.ahead.get(name).filter(|youngest| youngest.group != group) else {
            return false;
        };
        let is_older = |pending: &Pending<T>| {
            pending.name == youngest.name && pending.serial != youngest.serial && pending.definition.is_some()
        };
        self.confirmed.contains_key(name) || self.pending.iter().any(is_older)
    }

    /// Whether any name is uncertain in this group, apart from the unnamed one.
    pub fn are_uncertain(&self, group: u64) -> bool {
        self.ahead
            .keys()
            .any(|name| !name.is_empty() && self.is_uncertain(name, group))
    }

    /// A definition or removal (`None`) was sent to the server, in this group.
    pub fn send(&mut self, name: &[u8], definition: Option<T>, group: u64) {
        self.sent += 1;
        let pending = Pending {
            name: name.into(),
            definition,
            group,
            serial: self.sent,
        };
        self.ahead.insert(name.into(), pending.clone());
        self.pending.push_back(pending);
    }

    /// The server confirmed the oldest pending definition.
    pub fn confirm(&mut self) {
        let Some(oldest) = self.pending.pop_front() else {
            return;
        };
        let youngest = self.ahead.get(&oldest.name);
        if youngest.is_some_and(|youngest| youngest.serial == oldest.serial) {
            self.ahead.remove(&oldest.name);
        }
        match oldest.definition {
            Some(definition) => {
                self.confirmed.insert(oldest.name, definition);
            }
            None => {
                self.confirmed.remove(&oldest.name);
            }
        }
    }

    /// The server skipped the oldest `n` pending definitions.
    pub fn discard(&mut self, n: usize) {
        if n > 0 {
            self.pending.drain(..n.min(self.pending.len()));
            let youngest = self.pending.iter().cloned();
            self.ahead = youngest.map(|pending| (pending.name.clone(), pending)).collect();
        }
    }

    /// The last statement of a Query, which sent the oldest pending definition, failed: it, or the commit behind it, which
    /// is reported in its stead and leaves a prepared statement there (`exec_simple_query`).
    ///
    /// Where the name is taken it was the statement that failed. Where not, the definition is kept: at worst it is one
    /// of a statement that does not exist, which nothing can execute.
    pub fn settle_doubtful(&mut self) {
        let is_new =
            |oldest: &Pending<T>| oldest.definition.is_some() && !self.confirmed.contains_key(&oldest.name);
        if self.pending.front().is_some_and(is_new) {
            self.confirm();
        } else {
            self.discard(1);
        }
    }

    /// All that any name stands for, or will.
    pub fn definitions(&self) -> impl Iterator<Item = &T> {
        let pending = self
            .pending
            .iter()
            .filter_map(|pending| pending.definition.as_ref());
        self.confirmed.values().chain(pending)
    }

    /// The server forgot everything it had confirmed, except the unnamed one if `keep_unnamed`.
    pub fn forget(&mut self, keep_unnamed: bool) {
        self.confirmed.retain(|name, _| keep_unnamed && name.is_empty());
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
