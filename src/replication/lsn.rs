//! Positions and times in the write-ahead log.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// A position in the write-ahead log: bytes since its beginning (manual, type `pg_lsn`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// The text is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a WAL position: expected two hexadecimal numbers of up to 8 digits with a slash between them")]
pub struct ParseLsnError;

impl fmt::Display for Lsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = ParseLsnError;

    /// As `pg_lsn_in_internal` (pg_lsn.c) reads it.
    fn from_str(text: &str) -> Result<Self, ParseLsnError> {
        let half = |digits: &str| {
            let plain =
                (1..=8).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            plain
                .then(|| u64::from_str_radix(digits, 16).ok())
                .flatten()
                .ok_or(ParseLsnError)
        };
        let (high, low) = text.split_once('/').ok_or(ParseLsnError)?;
        Ok(Self(half(high)? << 32 | half(low)?))
    }
}

/// A server's time: microseconds since 2000-01-01 00:00 UTC (timestamp.h, `TimestampTz`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From 1970 to 2000, in microseconds.
    const EPOCH_DIFFERENCE: i64 = 946_684_800_000_000;

    /// Microseconds since 1970-01-01 00:00 UTC.
    #[must_use]
    pub fn unix_micros(self) -> i64 {
        self.0.saturating_add(Self::EPOCH_DIFFERENCE)
    }

    /// The time of a clock.
    #[must_use]
    pub fn of(time: SystemTime) -> Self {
        let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX);
        Self(micros.saturating_sub(Self::EPOCH_DIFFERENCE))
    }

    /// Year, month and day in UTC, by the Gregorian calendar.
    #[must_use]
    pub fn date(self) -> (i64, u8, u8) {
        /// Days of 400 years, after which the calendar repeats.
        const DAYS_OF_ERA: i64 = 146_097;
        /// From 0000-03-01, where a leap day is the last day of its year, to 2000-01-01.
        const DAYS_TO_2000: i64 = 730_425;
        let days = self.0.div_euclid(MICROS_PER_DAY) + DAYS_TO_2000;
        let (era, day_of_era) = (days.div_euclid(DAYS_OF_ERA), days.rem_euclid(DAYS_OF_ERA));
        // Leap days of the era before this day: one in 4 years, none in 100, one in 400.
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // March to January have 31, 30, 31, 30, 31 days, twice and once more: 153 days for five months.
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        (
            year,
            u8::try_from(month).unwrap_or_default(),
            u8::try_from(day).unwrap_or_default(),
        )
    }
}

/// Microseconds of a day.
const MICROS_PER_DAY: i64 = 86_400_000_000;

impl fmt::Display for Timestamp {
    /// As type timestamptz reads it: `2026-11-24 10:00:00.000000+00`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let micros = self.0.rem_euclid(MICROS_PER_DAY);
        let seconds = micros / 1_000_000;
        write!(
            formatter,
            "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{:06}+00",
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60,
            micros % 1_000_000
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Lsn, ParseLsnError, Timestamp};

    #[test]
    fn a_position_reads_as_the_server_writes_it() {
        for text in ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF", "0/15D68C8"] {
            assert_eq!(text.parse::<Lsn>().unwrap().to_string(), text);
        }
        assert_eq!("16/b374d848".parse(), Ok(Lsn(0x16_B374_D848)));
        assert!("1/0".parse::<Lsn>().unwrap() > "0/FFFFFFFF".parse().unwrap());
    }

    #[test]
    fn what_the_server_refuses_is_no_position() {
        for text in [
            "",
            "0",
            "/",
            "0/",
            "/0",
            "0/0/0",
            "+1/0",
            "0/ 1",
            "G/0",
            "123456789/0",
        ] {
            assert_eq!(text.parse::<Lsn>(), Err(ParseLsnError), "{text}");
        }
    }

    #[test]
    fn a_time_is_written_by_the_gregorian_calendar() {
        let day = 86_400_000_000_i64;
        for (micros, text) in [
            (0, "2000-01-01 00:00:00.000000+00"),
            (59 * day + 1, "2000-02-29 00:00:00.000001+00"),
            (60 * day, "2000-03-01 00:00:00.000000+00"),
            (-1, "1999-12-31 23:59:59.999999+00"),
            (-10_957 * day, "1970-01-01 00:00:00.000000+00"),
            (9_824 * day + 3_723_500_000, "2026-11-24 01:02:03.500000+00"),
        ] {
            assert_eq!(Timestamp(micros).to_string(), text);
        }
        // Every day of 800 years follows the one before.
        let mut before = Timestamp(-146_097 * day).date();
        for number in -146_096..146_097 {
            let (year, month, date) = Timestamp(number * day).date();
            let is_next_day = (year, month) == (before.0, before.1) && date == before.2 + 1;
            let is_next_month = date == 1 && before.2 >= 28 && (year, month) > (before.0, before.1);
            assert!(
                is_next_day || is_next_month,
                "{before:?}, then {year}-{month}-{date}"
            );
            before = (year, month, date);
        }
        assert_eq!(before, (2399, 12, 31));
    }

    #[test]
    fn the_servers_epoch_is_the_year_2000() {
        assert_eq!(Timestamp(0).unix_micros(), 946_684_800_000_000);
        assert_eq!(Timestamp(i64::MAX).unix_micros(), i64::MAX);
    }
}
