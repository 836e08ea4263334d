//! Positions and times in the write-ahead log.

use std::fmt;
use std::str::FromStr;

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
    fn the_servers_epoch_is_the_year_2000() {
        assert_eq!(Timestamp(0).unix_micros(), 946_684_800_000_000);
        assert_eq!(Timestamp(i64::MAX).unix_micros(), i64::MAX);
    }
}
