//! One value: read from the text of a flag or variable or from TOML, and shown as TOML again.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::settings::no_url;
use super::settings::{AuthMode, ClientTlsMode, CommentReuse, Fact, LogFormat, Pooler, SqlText};
use super::url::{Password, UpstreamUrl};
use super::{ColumnPattern, ListenAddress, PartitionBy, RedactRule, Retention, TablePattern};

/// What a source says about a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    /// A flag or a variable.
    Text(String),
    /// A value of the file; TOML and JSON agree on all types but dates.
    Typed(Value),
}

/// A type that a setting can have. Errors say what was expected and what was found.
pub(super) trait Setting: Sized {
    /// From a flag, a variable, or a string of the file.
    fn from_text(text: &str) -> Result<Self, String>;

    /// From the file.
    fn from_typed(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Self::from_text(text),
            other => Err(format!("expected a string, found {}", kind(other))),
        }
    }

    /// As TOML.
    fn show(&self) -> String;
}

/// Reads `raw` into `field`, which stays as it was where there is an error.
pub(super) fn fill<T: Setting>(field: &mut T, raw: &Raw) -> Result<(), String> {
    *field = match raw {
        Raw::Text(text) => T::from_text(text)?,
        Raw::Typed(value) => T::from_typed(value)?,
    };
    Ok(())
}

/// A found text as an error may show it: short, and without what may be a URL with a password.
pub(super) fn found(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.split_once("://") {
        Some((scheme, _)) if scheme.len() < LONGEST => format!("\"{scheme}://...\""),
        Some(_) => "a URL".into(),
        None if text.chars().count() > LONGEST => {
            format!("\"{}...\"", text.chars().take(LONGEST).collect::<String>())
        }
        None => format!("\"{text}\""),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "a table",
    }
}

/// As TOML: its basic strings take every escape that JSON writes.
fn show_text(text: &str) -> String {
    Value::from(text).to_string()
}

impl Setting for String {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }

    fn show(&self) -> String {
        show_text(self)
    }
}

impl Setting for UpstreamUrl {
    /// Empty: none yet, as in a `proxy.toml` whose URL comes from the environment.
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            Ok(no_url())
        } else {
            Self::parse(text).map_err(|error| error.to_string())
        }
    }

    /// In short: without password, and without most parameters.
    fn show(&self) -> String {
        if self.hosts.is_empty() {
            show_text("")
        } else {
            show_text(&self.to_string())
        }
    }
}

impl Setting for Option<PathBuf> {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok((!text.is_empty()).then(|| text.into()))
    }

    fn show(&self) -> String {
        show_text(
            &self
                .as_ref()
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
        )
    }
}

impl Setting for bool {
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(format!("expected true or false, found {}", found(other))),
        }
    }

    fn from_typed(value: &Value) -> Result<Self, String> {
        value
            .as_bool()
            .ok_or_else(|| format!("expected true or false, found {}", kind(value)))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_number {
    ($type:ty) => {
        impl Setting for $type {
            fn from_text(text: &str) -> Result<Self, String> {
                text.parse()
                    .map_err(|_| format!("expected a whole number, found {}", found(text)))
            }

            fn from_typed(value: &Value) -> Result<Self, String> {
                match value {
                    Value::Number(number) => Self::from_text(&number.to_string()),
                    other => Err(format!("expected a whole number, found {}", kind(other))),
                }
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    };
}
whole_number!(usize);
whole_number!(u32);

/// Milliseconds in each unit a duration can have; the longest suffix that fits comes first.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

impl Setting for Duration {
    fn from_text(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "expected a duration such as 500ms, 10s, 5m or 1h, found {}",
                found(text)
            )
        };
        let (digits, per_unit) = UNITS
            .iter()
            .find_map(|(suffix, per_unit)| Some((text.strip_suffix(suffix)?, *per_unit)))
            .ok_or_else(expected)?;
        let only_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let count: u64 = digits.parse().ok().filter(|_| only_digits).ok_or_else(expected)?;
        count
            .checked_mul(per_unit)
            .map(Self::from_millis)
            .ok_or_else(expected)
    }

    fn from_typed(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Self::from_text(text),
            Value::Number(number) => Err(format!(
                "expected a duration with its unit, such as \"{number}s\", found a number"
            )),
            other => Err(format!(
                "expected a duration such as \"10s\", found {}",
                kind(other)
            )),
        }
    }

    fn show(&self) -> String {
        let millis = self.as_millis();
        let whole = |per_unit: u64| millis.is_multiple_of(u128::from(per_unit));
        // Zero is whole in every unit, and seconds read best.
        let (suffix, per_unit) = match millis {
            0 => ("s", 1_000),
            _ => UNITS
                .into_iter()
                .rev()
                .find(|(_, per_unit)| whole(*per_unit))
                .unwrap_or(("ms", 1)),
        };
        format!("\"{}{suffix}\"", millis / u128::from(per_unit))
    }
}

impl<T: Setting> Setting for Vec<T> {
    /// Parted by commas; an item with a comma inside can only come from the file.
    fn from_text(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        text.split(',').map(|item| T::from_text(item.trim())).collect()
    }

    fn from_typed(value: &Value) -> Result<Self, String> {
        match value {
            Value::Array(items) => items.iter().map(T::from_typed).collect(),
            other => Err(format!(
                "expected an array such as [\"...\"], found {}",
                kind(other)
            )),
        }
    }

    fn show(&self) -> String {
        format!("[{}]", self.iter().map(T::show).collect::<Vec<_>>().join(", "))
    }
}

impl Setting for Map<String, Value> {
    /// A JSON object.
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Map::new());
        }
        serde_json::from_str(text).map_err(|error| format!("expected a JSON object: {error}"))
    }

    fn from_typed(value: &Value) -> Result<Self, String> {
        value
            .as_object()
            .cloned()
            .ok_or_else(|| format!("expected a table, found {}", kind(value)))
    }

    /// As an inline table.
    fn show(&self) -> String {
        show_typed(&Value::Object(self.clone()))
    }
}

fn show_typed(value: &Value) -> String {
    let joined = |items: Vec<String>| items.join(", ");
    match value {
        Value::Array(items) => format!("[{}]", joined(items.iter().map(show_typed).collect())),
        Value::Object(entries) => {
            let entry =
                |(key, value): (&String, &Value)| format!("{} = {}", show_text(key), show_typed(value));
            format!("{{{}}}", joined(entries.iter().map(entry).collect()))
        }
        other => other.to_string(),
    }
}

macro_rules! shown_as_written {
    ($type:ty) => {
        impl Setting for $type {
            fn from_text(text: &str) -> Result<Self, String> {
                text.parse()
            }

            fn show(&self) -> String {
                show_text(&self.to_string())
            }
        }
    };
}
shown_as_written!(ListenAddress);
shown_as_written!(TablePattern);

shown_as_written!(ColumnPattern);
shown_as_written!(RedactRule<ColumnPattern>);
shown_as_written!(RedactRule<String>);

impl Setting for Option<Password> {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok((!text.is_empty()).then(|| Password::new(text.into())))
    }

    /// Whether there is one, no more.
    fn show(&self) -> String {
        show_text(if self.is_some() { "..." } else { "" })
    }
}

/// A hundred years. Far more would lead to times that the server does not know.
const MAX_RETENTION_DAYS: u32 = 36_500;

impl Setting for Retention {
    fn from_text(text: &str) -> Result<Self, String> {
        let days = || {
            let days = text.strip_suffix('d')?.parse().ok()?;
            (1..=MAX_RETENTION_DAYS).contains(&days).then_some(days)
        };
        match text {
            "off" => Ok(Self::Off),
            _days => days().map(Self::Days).ok_or_else(|| {
                format!(
                    "expected off, or 1 to {MAX_RETENTION_DAYS} days such as 90d, found {}",
                    found(text)
                )
            }),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Off => show_text("off"),
            Self::Days(days) => show_text(&format!("{days}d")),
        }
    }
}

/// A setting with a fixed list of values.
macro_rules! choices {
    ($type:ident { $($text:literal => $variant:ident),+ }) => {
        impl Setting for $type {
            fn from_text(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    other => Err(format!("expected one of {}, found {}", [$($text),+].join(", "), found(other))),
                }
            }

            fn show(&self) -> String {
                match self {
                    $(Self::$variant => show_text($text),)+
                }
            }
        }
    };
}
choices!(Pooler { "none" => None, "transaction" => Transaction });
choices!(ClientTlsMode { "prefer" => Prefer, "require" => Require });
choices!(AuthMode { "passthrough" => Passthrough, "password" => Password, "scram" => Scram });
choices!(Fact {
    "user" => User, "database" => Database, "application_name" => ApplicationName, "client_addr" => ClientAddr
});
choices!(CommentReuse { "every" => Every, "first" => First, "same_sync" => SameSync });
choices!(SqlText { "full" => Full, "normalized" => Normalized, "off" => Off });
choices!(PartitionBy { "day" => Day, "month" => Month });
choices!(LogFormat { "text" => Text, "json" => Json });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        assert_eq!(Duration::from_text("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(Duration::from_text("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(Duration::from_text("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(Duration::from_text("1h"), Ok(Duration::from_secs(3_600)));
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "+1s",
            "1.5s",
            "1 s",
            "1d",
            "99999999999999999999s",
            "9999999999999999h",
        ] {
            assert!(Duration::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_is_shown_in_the_largest_unit_that_is_exact() {
        let shown = |text: &str| Duration::from_text(text).map(|duration| duration.show());
        assert_eq!(shown("1500ms"), Ok("\"1500ms\"".into()));
        assert_eq!(shown("90s"), Ok("\"90s\"".into()));
        assert_eq!(shown("60s"), Ok("\"1m\"".into()));
        assert_eq!(shown("0ms"), Ok("\"0s\"".into()));
    }

    #[test]
    fn a_number_without_a_unit_is_told_how_to_get_one() {
        let error = Duration::from_typed(&Value::from(10)).expect_err("no unit");
        assert!(error.contains("\"10s\""), "{error}");
    }

    #[test]
    fn a_list_in_a_variable_is_parted_by_commas() {
        assert_eq!(Vec::<u32>::from_text("1, 2,3"), Ok(vec![1, 2, 3]));
        assert_eq!(Vec::<u32>::from_text(""), Ok(vec![]));
        assert!(Vec::<u32>::from_text("1,,2").is_err());
    }

    #[test]
    fn a_choice_names_the_others() {
        let error = AuthMode::from_text("md5").expect_err("no such mode");
        assert_eq!(
            error,
            "expected one of passthrough, password, scram, found \"md5\""
        );
    }

    #[test]
    fn a_url_in_the_wrong_place_is_not_shown() {
        let error = bool::from_text("postgresql://bob:secret@db/app").expect_err("no boolean");
        assert_eq!(error, "expected true or false, found \"postgresql://...\"");
    }

    #[test]
    fn a_retention_is_off_or_a_number_of_days() {
        assert_eq!(Retention::from_text("off"), Ok(Retention::Off));
        assert_eq!(Retention::from_text("90d"), Ok(Retention::Days(90)));
        for text in ["", "0d", "-1d", "90", "d", "36501d", "99999999999d", "1.5d"] {
            assert!(Retention::from_text(text).is_err(), "{text}");
        }
    }
}
