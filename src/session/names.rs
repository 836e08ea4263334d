//! Prepared statements and portals by name, ahead of the server's replies.
//!
//! A client that pipelines uses a name before the server has confirmed it, and the server may skip what defined
//! it after an error. So each definition is pending until its reply: look-ups see the pending ones first, an
//! error takes back those that were skipped, and a redefinition that is still in flight is not lost with them.

use std::collections::{HashMap, VecDeque};

/// Definitions by name; `T` is cheap to clone.
#[derive(Debug)]
pub struct Names<T> {
    confirmed: HashMap<Box<[u8]>, T>,
    pending: VecDeque<(Box<[u8]>, Option<T>)>,
    /// The youngest pending definition of each name; `None` is a removal.
    ahead: HashMap<Box<[u8]>, Option<T>>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self {
            confirmed: HashMap::new(),
            pending: VecDeque::new(),
            ahead: HashMap::new(),
        }
    }
}

impl<T: Clone> Names<T> {
    /// What the name will stand for if all that is in flight succeeds.
    pub fn get(&self, name: &[u8]) -> Option<&T> {
        match self.ahead.get(name) {
            Some(pending) => pending.as_ref(),
            None => self.confirmed.get(name),
        }
    }

    /// A definition or removal (`None`) was sent to the server.
    pub fn send(&mut self, name: &[u8], definition: Option<T>) {
        self.ahead.insert(name.into(), definition.clone());
        self.pending.push_back((name.into(), definition));
    }

    /// The server confirmed the oldest pending definition.
    pub fn confirm(&mut self) {
        if let Some((name, definition)) = self.pending.pop_front() {
            match definition {
                Some(definition) => {
                    self.confirmed.insert(name, definition);
                }
                None => {
                    self.confirmed.remove(&name);
                }
            }
        }
        if self.pending.is_empty() {
            self.ahead.clear();
        }
    }

    /// The server skipped the oldest `n` pending definitions.
    pub fn discard(&mut self, n: usize) {
        if n > 0 {
            self.pending.drain(..n.min(self.pending.len()));
            self.ahead = self.pending.iter().cloned().collect();
        }
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
        names.send(b"s", Some(1));
        names.confirm();
        names.send(b"s", Some(2));
        assert_eq!(names.get(b"s"), Some(&2));
        names.discard(1);
        assert_eq!(names.get(b"s"), Some(&1));
    }

    #[test]
    fn a_skipped_definition_does_not_take_a_later_one_along() {
        let mut names = Names::default();
        names.send(b"s", Some(1));
        names.send(b"s", Some(2));
        names.discard(1);
        assert_eq!(names.get(b"s"), Some(&2));
        names.confirm();
        assert_eq!(names.get(b"s"), Some(&2));
    }

    #[test]
    fn a_pending_removal_hides_the_name() {
        let mut names = Names::default();
        names.send(b"s", Some(1));
        names.confirm();
        names.send(b"s", None);
        assert_eq!(names.get(b"s"), None);
        names.confirm();
        assert_eq!(names.get(b"s"), None);
    }

    #[test]
    fn forgetting_can_spare_the_unnamed_one() {
        let mut names = Names::default();
        for name in [&b""[..], b"s"] {
            names.send(name, Some(1));
            names.confirm();
        }
        names.forget(true);
        assert_eq!((names.get(b""), names.get(b"s")), (Some(&1), None));
    }
}
