//! How busy an event loop is, and which one takes over from it. Decisions only.
//!
//! To be put to sleep and woken costs a loop as much as to relay, and one that several relays keep busy is spared most
//! of that: whenever it looks, several are due. Two loops that share those relays sleep between any two messages. So
//! the first loop has all of them until it needs a core for itself. Of two that talk without a pause either does better
//! with a loop, and a core, of its own; of a crowd that is due at a time, half is company enough. There a third of a core
//! is enough to hand over half of the relays that were busy. What counts is the time a loop was *given*, not what it asked
//! for.

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
    /// By how many relays the turns are taken where either does better alone, at most. One of which little is heard counts
    /// for little: three that have 80, 80 and 10 turns count as 2.2.
    pub few: f64,
    /// How many relays are due at a time, in the mean, where half of them are company enough.
    pub crowd: f64,
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
            few: 2.5,
            crowd: 100.0,
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
    /// Since the window began: how often any relay was due.
    rounds: u64,
    is_busy: bool,
}

impl Meter {
    pub fn new(terms: Terms, now: Moment) -> Self {
        Self {
            terms,
            since: now,
            waits: 0,
            rounds: 0,
            is_busy: false,
        }
    }

    /// Counts a wait, behind which relays are due or none; whether it is time to look at the clock.
    pub fn waited(&mut self, any_due: bool) -> bool {
        self.waits += 1;
        self.rounds += u64::from(any_due);
        self.waits >= self.terms.waits
    }

    /// Looks at the clock. Once a window is over, says whether the loop is to hand over: `turns` is how many each of its
    /// relays had in that window.
    pub fn look(&mut self, now: Moment, turns: impl Iterator<Item = u32>) -> Option<bool> {
        self.waits = 0;
        let wall = now.wall.saturating_sub(self.since.wall);
        if wall < self.terms.window {
            return None;
        }
        let running = now.running.saturating_sub(self.since.running);
        let share = running.as_secs_f64() / wall.as_secs_f64().max(f64::MIN_POSITIVE);
        let (sum, relays) = count(turns);
        let is_crowd = sum >= self.terms.crowd * self.rounds.max(1) as f64;
        let enough = if relays <= self.terms.few || is_crowd {
            self.terms.busy
        } else {
            self.terms.full
        };
        (self.since, self.rounds) = (now, 0);
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

/// How many turns there were, and how many relays would have had them if all had had as many: the square of the sum by
/// the sum of the squares.
fn count(turns: impl Iterator<Item = u32>) -> (f64, f64) {
    let (sum, squares) = turns.fold((0.0, 0.0), |(sum, squares), turns| {
        let turns = f64::from(turns);
        (sum + turns, squares + turns * turns)
    });
    (sum, sum * sum / f64::max(squares, 1.0))
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
    fn a_loop_hands_over_when_it_needs_a_core_for_itself() {
        let mut meter = meter();
        let mut look = |wall, running| meter.look(at(wall, running), [5; 8].into_iter());
        assert_eq!(look(99, 99), None);
        assert_eq!(look(100, 79), Some(false));
        assert_eq!(look(200, 160), Some(true));
        assert!(meter.busy_until() > Duration::from_millis(200));
    }

    #[test]
    fn the_few_and_the_many_are_parted_sooner() {
        let is_parted = |turns: &[u32], rounds: u32| {
            let mut meter = meter();
            (0..rounds).for_each(|_| _ = meter.waited(true));
            meter.look(at(100, 31), turns.iter().copied()) == Some(true)
        };
        assert!(is_parted(&[10, 10], 20));
        assert!(is_parted(&[80, 80, 10, 0], 100));
        assert!(!is_parted(&[50, 50, 50], 100));
        assert!(!is_parted(&[100; 8], 800));
        assert!(!is_parted(&[100; 99], 100));
        assert!(is_parted(&[100; 100], 100));
    }

    #[test]
    fn a_loop_that_has_little_to_do_hands_nothing_over() {
        let mut meter = meter();
        let mut look = |wall, running, turns: &[u32]| meter.look(at(wall, running), turns.iter().copied());
        assert_eq!(look(100, 29, &[10, 10]), Some(false));
        assert_eq!(look(200, 58, &[10; 200]), Some(false));
        assert_eq!(look(300, 58, &[]), Some(false));
    }

    #[test]
    fn it_counts_as_busy_until_it_is_calm() {
        let mut meter = meter();
        let mut look = |wall, running| {
            let hands_over = meter.look(at(wall, running), [5; 8].into_iter());
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
        let due: Vec<bool> = (0..3).map(|_| meter.waited(true)).collect();
        assert_eq!(due, [false, false, true]);
        meter.look(at(1, 1), std::iter::empty());
        assert!(!meter.waited(true));
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
