//! Progress for people: changes per second, lag, and the last commit.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use super::assembler::Boundary;
use crate::replication::{Lsn, Timestamp};

/// What has been done so far; written by those who do it.
#[derive(Debug, Default)]
pub struct Stats {
    changes: AtomicU64,
    received: AtomicU64,
    log_end: AtomicU64,
    stored: AtomicU64,
    committed_at: AtomicI64,
}

impl Stats {
    /// Rows up to a boundary are stored.
    pub fn stored(&self, rows: u64, boundary: Boundary) {
        self.changes.fetch_add(rows, Ordering::Relaxed);
        self.committed_at
            .store(boundary.committed_at.0, Ordering::Relaxed);
    }

    /// How far the source has sent, and how far it need not send again.
    pub fn moved(&self, received: Lsn, stored: Lsn) {
        self.received.store(received.0, Ordering::Relaxed);
        self.stored.store(stored.0, Ordering::Relaxed);
    }

    /// Where the source's log ends.
    pub fn log_ends_at(&self, lsn: Lsn) {
        self.log_end.store(lsn.0, Ordering::Relaxed);
    }

    /// Changes stored since the process began.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// How things stand after `elapsed` since there were `before` changes.
    #[must_use]
    pub fn line(&self, before: u64, elapsed: Duration, now: Timestamp) -> Line {
        let stored = self.stored.load(Ordering::Relaxed);
        let received = self.received.load(Ordering::Relaxed);
        let end = self.log_end.load(Ordering::Relaxed).max(received);
        let committed_at = Some(self.committed_at.load(Ordering::Relaxed)).filter(|micros| *micros != 0);
        let changes = self.changes();
        let is_behind = received > stored && changes != before;
        Line {
            changes,
            per_second: (changes - before) as f64 / elapsed.as_secs_f64().max(0.001),
            lag_bytes: end.saturating_sub(stored),
            lag: match committed_at {
                Some(micros) if is_behind => {
                    Duration::from_micros(u64::try_from(now.0.saturating_sub(micros)).unwrap_or_default())
                }
                Some(_) | None => Duration::ZERO,
            },
            committed_at: committed_at.map(Timestamp),
        }
    }
}

/// See [`Stats::line`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Changes stored since the process began.
    pub changes: u64,
    /// Of late.
    pub per_second: f64,
    /// Bytes of log between the source and what is stored.
    pub lag_bytes: u64,
    /// Since the commit of the last change that was stored, while others wait.
    pub lag: Duration,
    /// The commit of the last change that was stored.
    pub committed_at: Option<Timestamp>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} changes, {:.0}/s, lag {} and {:.1} s, last commit {}",
            self.changes,
            self.per_second,
            Bytes(self.lag_bytes),
            self.lag.as_secs_f64(),
            Commit(self.committed_at)
        )
    }
}

/// Bytes in the unit that reads best.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match UNITS.iter().find(|(size, _)| self.0 >= *size) {
            Some((size, unit)) => write!(f, "{:.1} {unit}", self.0 as f64 / *size as f64),
            None => write!(f, "{} B", self.0),
        }
    }
}

/// A time to the second, or none yet.
#[derive(Clone, Copy, Debug)]
pub struct Commit(pub Option<Timestamp>);

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(time) => f.write_str(time.to_string().get(..19).unwrap_or_default()),
            None => f.write_str("none yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Boundary, Stats};
    use crate::replication::{Lsn, Timestamp};

    #[test]
    fn a_line_says_how_fast_and_how_far() {
        let stats = Stats::default();
        let nothing = stats.line(0, Duration::from_secs(1), Timestamp(0)).to_string();
        assert_eq!(nothing, "0 changes, 0/s, lag 0 B and 0.0 s, last commit none yet");
        let boundary = Boundary {
            end_lsn: Lsn(1 << 20),
            committed_at: Timestamp(60_000_000),
        };
        stats.stored(500, boundary);
        stats.moved(Lsn(2 << 20), Lsn(1 << 20));
        stats.log_ends_at(Lsn(3 << 20));
        let line = stats.line(0, Duration::from_secs(2), Timestamp(61_500_000));
        assert_eq!(
            line.to_string(),
            "500 changes, 250/s, lag 2.0 MiB and 1.5 s, last commit 2000-01-01 00:01:00"
        );
    }
}
