//! What `bemi track` keeps out of its table, and how: `users.email=hash`.

use std::fmt;
use std::str::FromStr;

/// How a value is kept out of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redaction {
    /// Its key is left out as well.
    Drop,
    /// `***`
    Mask,
    /// HMAC-SHA256 with `track.redact_key`, in hexadecimal: equal values can be told, nothing else.
    Hash,
}

impl fmt::Display for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drop => "drop",
            Self::Mask => "mask",
            Self::Hash => "hash",
        })
    }
}

/// `users.email=hash`: what is redacted, and how. `T` is the name of a column or of a key of the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedactRule<T> {
    /// What it speaks of.
    pub what: T,
    /// What becomes of it.
    pub redaction: Redaction,
}

impl<T: FromStr> FromStr for RedactRule<T>
where
    T::Err: fmt::Display,
{
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (what, how) = text
            .rsplit_once('=')
            .ok_or("expected NAME=drop, NAME=mask or NAME=hash")?;
        let redaction = match how.trim() {
            "drop" => Redaction::Drop,
            "mask" => Redaction::Mask,
            "hash" => Redaction::Hash,
            _other => return Err("expected drop, mask or hash behind the =".into()),
        };
        let what = what.trim().parse().map_err(|error: T::Err| error.to_string())?;
        Ok(Self { what, redaction })
    }
}

impl<T: fmt::Display> fmt::Display for RedactRule<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.what, self.redaction)
    }
}

#[cfg(test)]
mod tests {
    use super::{RedactRule, Redaction};
    use crate::config::ColumnPattern;

    #[test]
    fn a_rule_says_what_and_how() {
        let rule: RedactRule<ColumnPattern> = "users.email = hash".parse().unwrap();
        assert_eq!(rule.redaction, Redaction::Hash);
        assert_eq!(rule.to_string().parse(), Ok(rule));
        for text in [
            "users.email",
            "users.email=",
            "users.email=md5",
            "=drop",
            "users.*=drop",
        ] {
            assert!(text.parse::<RedactRule<ColumnPattern>>().is_err(), "{text}");
        }
    }
}
