//! The partitions of `changes`: their names, their bounds, and which of them have had their time. Pure.

use crate::config::PartitionBy;
use crate::replication::Timestamp;

/// A stretch of time, in whole days of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    /// Its first day.
    pub from: Day,
    /// The day after its last.
    pub to: Day,
}

/// Year, month and day.
pub type Day = (i64, u8, u8);

impl Partition {
    /// The one that holds this time.
    #[must_use]
    pub fn of(time: Timestamp, by: PartitionBy) -> Self {
        let (year, month, _) = time.date();
        match by {
            PartitionBy::Month => Self::month(year, month),
            PartitionBy::Day => Self {
                from: time.date(),
                to: after_days(time, 1).date(),
            },
        }
    }

    fn month(year: i64, month: u8) -> Self {
        Self {
            from: (year, month, 1),
            to: if month == 12 {
                (year + 1, 1, 1)
            } else {
                (year, month + 1, 1)
            },
        }
    }

    /// That of this time and the next one, so that nothing has to wait for it at midnight.
    #[must_use]
    pub fn ahead(time: Timestamp, by: PartitionBy) -> [Self; 2] {
        let now = Self::of(time, by);
        let (year, month, _) = now.to;
        let next = match by {
            PartitionBy::Month => Self::month(year, month),
            PartitionBy::Day => Self::of(after_days(time, 1), by),
        };
        [now, next]
    }

    /// Its name: `changes_p20261101`.
    #[must_use]
    pub fn name(&self) -> String {
        let (year, month, day) = self.from;
        format!("changes_p{year:04}{month:02}{day:02}")
    }
}

/// A day as a bound of a partition.
#[must_use]
pub fn bound((year, month, day): Day) -> String {
    format!("{year:04}-{month:02}-{day:02} 00:00:00+00")
}

/// The first moment that is still kept.
#[must_use]
pub fn kept_from(now: Timestamp, days: u32) -> Timestamp {
    after_days(now, -i64::from(days))
}

fn after_days(time: Timestamp, days: i64) -> Timestamp {
    const MICROS_PER_DAY: i64 = 86_400_000_000;
    Timestamp(time.0.saturating_add(days.saturating_mul(MICROS_PER_DAY)))
}

#[cfg(test)]
mod tests {
    use super::{Partition, bound, kept_from};
    use crate::config::PartitionBy;
    use crate::replication::Timestamp;

    /// Days after 2000-01-01.
    fn day(number: i64) -> Timestamp {
        Timestamp(number * 86_400_000_000 + 5)
    }

    #[test]
    fn a_month_ends_where_the_next_one_begins() {
        let january = Partition::of(day(30), PartitionBy::Month);
        assert_eq!((january.from, january.to), ((2000, 1, 1), (2000, 2, 1)));
        let december = Partition::of(day(365), PartitionBy::Month);
        assert_eq!((december.from, december.to), ((2000, 12, 1), (2001, 1, 1)));
        assert_eq!(december.name(), "changes_p20001201");
        assert_eq!(bound(december.to), "2001-01-01 00:00:00+00");
    }

    #[test]
    fn a_day_ends_where_the_next_one_begins() {
        let leap_day = Partition::of(day(59), PartitionBy::Day);
        assert_eq!((leap_day.from, leap_day.to), ((2000, 2, 29), (2000, 3, 1)));
    }

    #[test]
    fn the_next_partition_is_there_before_it_is_needed() {
        for number in 0..800 {
            for by in [PartitionBy::Day, PartitionBy::Month] {
                let ahead = Partition::ahead(day(number), by);
                assert_eq!(ahead[0], Partition::of(day(number), by));
                let next = Partition::of(day(number + 1), by);
                assert!(ahead.contains(&next), "{number}: {next:?}");
            }
        }
    }

    #[test]
    fn what_is_kept_begins_so_many_days_ago() {
        assert_eq!(kept_from(day(100), 90), day(10));
    }
}
