//! How busy an event loop is, and which one takes over from it. Decisions only.
//!
//! To be put to sleep and woken costs a loop as much as to relay, and one that several relays keep busy is spared most
//! of that: whenever it looks, several are due. Two loops that share those relays sleep between any two messages. So
//! the first loop has all of them until it needs a core for itself. Where they are due one by one there is nothing to
//! spare, and what talks without a pause does better with a loop, and a core, of its own; where a crowd is due, half of
//! it is company enough. There a third of a core is enough to hand over half of the relays that were busy. What counts
//! is the time a loop was *given*, not what it asked for.

use std::ops::Range;
use std::time::Duration;

/// When a loop counts as busy.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// How long is looked at. Relays that are handed over do not come back, so a moment that is unlike the rest must not
    /// decide.
    pub window: Duration,
    /// Share of a core from which on it hands over.
    pub full: f64,
    /// The same where little is saved by keeping its relays together.
    pub busy: f64,
    /// How many relays are due at a time, in the mean, where much is saved: no fewer than the first, fewer than the second.
    pub company: Range<f64>,
    /// Share of a core down to which it counts as busy once it was.
    pub calm: f64,
    /// How long it counts as busy where nothing newer is known.
    pub memory: Duration,
    /// How many times it waits for its sockets before it looks at the clock.
    pub waits: u32,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            window: Duration::from_millis(500),
            full: 0.8,
            busy: 0.3,
            company: 1.75..100.0,
            calm: 0.15,
            memory: Duration::from_secs(1),
            waits: 64,
        }
    }
}

/// A moment by both clocks: the wall's, and the time this thread was running.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub wall: Duration,
    pub running: Duration,
}

/// Measures one loop.
#[derive(Debug)]
pub(super) struct Meter {
    terms: Terms,
    since: Moment,
    /// Since the clock was looked at.
    waits: u32,
    /// Since the window began: how often any relay was due, and how many were.
    rounds: u64,
    turns: u64,
    is_busy: bool,
}

impl Meter {
    pub fn new(terms: Terms, now: Moment) -> Self {
        Self {
            terms,
            since: now,
            waits: 0,
            rounds: 0,
            turns: 0,
            is_busy: false,
        }
    }

    /// Counts a wait, behind which so many relays are due; whether it is time to look at the clock.
    pub fn waited(&mut self, due: usize) -> bool {
        self.waits += 1;
        self.rounds += u64::from(due > 0);
        self.turns += due as u64;
        self.waits >= self.terms.waits
    }

    /// Looks at the clock. Once a window is over, says whether the loop is to hand over.
    pub fn look(&mut self, now: Moment) -> Option<bool> {
        self.waits = 0;
        let wall = now.wall.saturating_sub(self.since.wall);
        if wall < self.terms.window {
            return None;
        }
        let running = now.running.saturating_sub(self.since.running);
        let share = running.as_secs_f64() / wall.as_secs_f64().max(f64::MIN_POSITIVE);
        let company = self.turns as f64 / self.rounds.max(1) as f64;
        let enough = if self.terms.company.contains(&company) {
            self.terms.full
        } else {
            self.terms.busy
        };
        (self.since, self.rounds, self.turns) = (now, 0, 0);
        self.is_busy = share >= enough || (self.is_busy && share > self.terms.calm);
        Some(share >= enough)
    }

    /// By the wall's clock, until when others are to take it for busy. One that has nothing to do any more sleeps, and is
    /// not woken only to say so.
    pub fn busy_until(&self) -> Duration {
        if self.is_busy {
            self.since.wall + self.terms.memory
        } else {
            Duration::ZERO
        }
    }
}

/// What others know of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    pub is_busy: bool,
    pub relays: usize,
}

/// Where a new relay goes: to the first that is not busy, or else to the one with the fewest.
pub(super) fn place(loads: impl Iterator<Item = Load> + Clone) -> usize {
    let calm = loads.clone().position(|load| !load.is_busy);
    let fewest = || loads.enumerate().min_by_key(|(_, load)| load.relays);
    calm.unwrap_or_else(|| fewest().map_or(0, |(place, _)| place))
}

/// Who takes over from a loop that is busy, and how many relays at most: the first of the others that is not, up to where
/// both have as many.
pub(super) fn successor(loads: impl Iterator<Item = Load> + Clone, busy: usize) -> Option<(usize, usize)> {
    let own = loads.clone().nth(busy)?.relays;
    let most = |load: &Load| own.saturating_sub(load.relays) / 2;
    loads
        .enumerate()
        .find(|(place, load)| *place != busy && !load.is_busy && most(load) > 0)
        .map(|(place, load)| (place, most(&load)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall_ms: u64, running_ms: u64) -> Moment {
        Moment {
            wall: Duration::from_millis(wall_ms),
            running: Duration::from_millis(running_ms),
        }
    }

    /// One with a window of 100 ms.
    fn meter() -> Meter {
        let window = Duration::from_millis(100);
        let terms = Terms {
            window,
            ..Terms::default()
        };
        Meter::new(terms, at(0, 0))
    }

    fn load(is_busy: bool, relays: usize) -> Load {
        Load { is_busy, relays }
    }

    #[test]
    fn a_loop_hands_over_when_it_has_enough_to_do() {
        let mut meter = meter();
        assert_eq!(meter.look(at(99, 99)), None);
        assert_eq!(meter.look(at(100, 29)), Some(false));
        assert_eq!(meter.look(at(200, 60)), Some(true));
        assert!(meter.busy_until() > Duration::from_millis(200));
    }

    #[test]
    fn a_loop_whose_relays_are_due_together_keeps_them_as_long_as_it_can() {
        let mut meter = meter();
        let mut look = |due: &[usize], wall, running| {
            due.iter().for_each(|due| _ = meter.waited(*due));
            meter.look(at(wall, running))
        };
        assert_eq!(look(&[2, 0, 0, 1, 1], 100, 40), Some(true));
        assert_eq!(look(&[2, 0, 0, 2, 2], 200, 80), Some(false));
        assert_eq!(look(&[4, 4], 300, 170), Some(true));
        assert_eq!(look(&[1], 400, 210), Some(true));
        assert_eq!(look(&[200, 150], 500, 250), Some(true));
    }

    #[test]
    fn a_moment_in_which_they_are_due_one_by_one_does_not_part_them() {
        let mut meter = meter();
        let together = std::iter::repeat_n(4, 80);
        let apart = std::iter::repeat_n(1, 20);
        together.chain(apart).for_each(|due| _ = meter.waited(due));
        assert_eq!(meter.look(at(100, 50)), Some(false));
    }

    #[test]
    fn it_counts_as_busy_until_it_is_calm() {
        let mut meter = meter();
        let mut look = |wall, running| {
            let hands_over = meter.look(at(wall, running));
            (hands_over, meter.busy_until().as_millis())
        };
        assert_eq!(look(100, 100), (Some(true), 1100));
        assert_eq!(look(200, 120), (Some(false), 1200));
        assert_eq!(look(300, 130), (Some(false), 0));
        assert_eq!(look(400, 150), (Some(false), 0));
    }

    #[test]
    fn the_clock_is_looked_at_once_in_so_many_waits() {
        let terms = Terms {
            waits: 3,
            ..Terms::default()
        };
        let mut meter = Meter::new(terms, at(0, 0));
        let due: Vec<bool> = (0..3).map(|_| meter.waited(1)).collect();
        assert_eq!(due, [false, false, true]);
        meter.look(at(1, 1));
        assert!(!meter.waited(1));
    }

    #[test]
    fn relays_go_to_the_first_that_is_not_busy() {
        assert_eq!(place([load(false, 9), load(false, 0)].into_iter()), 0);
        assert_eq!(place([load(true, 9), load(false, 99)].into_iter()), 1);
        assert_eq!(place([load(true, 9), load(true, 8)].into_iter()), 1);
    }

    #[test]
    fn whoever_takes_over_is_another_that_is_not_busy_and_has_fewer() {
        let next = |loads: &[Load], busy| successor(loads.iter().copied(), busy);
        assert_eq!(next(&[load(true, 2)], 0), None);
        assert_eq!(next(&[load(false, 8), load(false, 0)], 0), Some((1, 4)));
        assert_eq!(next(&[load(true, 4), load(false, 4)], 0), None);
        assert_eq!(
            next(&[load(true, 0), load(false, 1), load(true, 9)], 2),
            Some((1, 4))
        );
        assert_eq!(next(&[load(true, 0), load(true, 5)], 1), None);
    }
}
