//! What of the changes may be stored: tables, columns, and keys of the context. Pure.

use std::fmt;

use ring::hmac;

use crate::config::{ColumnPattern, RedactRule, Redaction, TablePattern, Track};

/// What stands in place of a masked value.
pub const MASK: &[u8] = b"***";

/// All of it, from the configuration.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Tables to store; empty: all.
    pub tables: Vec<TablePattern>,
    /// Tables not to store; stronger than `tables`.
    pub exclude: Vec<TablePattern>,
    /// An update of nothing but these is no change.
    pub ignore_columns: Vec<ColumnPattern>,
    /// Columns whose values are not stored.
    pub redact: Vec<RedactRule<ColumnPattern>>,
    /// Keys of the context whose values are not stored.
    pub redact_context: Vec<RedactRule<String>>,
    /// The key of [`Redaction::Hash`].
    pub hash_key: Option<HashKey>,
}

/// `track.redact_key`. No `Debug` that shows it.
#[derive(Clone)]
pub struct HashKey(hmac::Key);

impl HashKey {
    /// From any text.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(not shown)")
    }
}

impl From<&Track> for Rules {
    fn from(track: &Track) -> Self {
        Self {
            tables: track.tables.clone(),
            exclude: track.exclude.clone(),
            ignore_columns: track.ignore_columns.clone(),
            redact: track.redact.clone(),
            redact_context: track.redact_context.clone(),
            hash_key: track.redact_key.as_ref().map(|key| HashKey::new(key.reveal())),
        }
    }
}

impl Rules {
    /// Whether changes of this table are stored. `root` is the partitioned table that it is a part of: a pattern may
    /// speak of either.
    #[must_use]
    pub fn wants(&self, schema: &str, table: &str, root: Option<(&str, &str)>) -> bool {
        let holds = |patterns: &[TablePattern]| {
            let names = root.into_iter().chain([(schema, table)]);
            names.into_iter().any(|(schema, table)| {
                patterns
                    .iter()
                    .any(|pattern| pattern.matches(Some(schema), table))
            })
        };
        (self.tables.is_empty() || holds(&self.tables)) && !holds(&self.exclude)
    }

    /// Whether a change of this column alone counts for nothing.
    #[must_use]
    pub fn ignores(&self, schema: &str, table: &str, column: &str) -> bool {
        self.ignore_columns
            .iter()
            .any(|pattern| pattern.matches(schema, table, column))
    }

    /// What becomes of this column's values; the first rule that speaks of it decides.
    #[must_use]
    pub fn redaction(&self, schema: &str, table: &str, column: &str) -> Option<Redaction> {
        self.redact
            .iter()
            .find(|rule| rule.what.matches(schema, table, column))
            .map(|rule| rule.redaction)
    }

    /// Whether the statements under the key `SQL` are stored without their literals: a redacted value may be one of them.
    #[must_use]
    pub fn normalizes_sql(&self) -> bool {
        !self.redact.is_empty()
    }

    /// The value as [`Redaction::Hash`] stores it. Without a key, which the configuration does not allow, it is masked.
    #[must_use]
    pub fn hashed(&self, value: &[u8]) -> Vec<u8> {
        match &self.hash_key {
            Some(HashKey(key)) => hexadecimal(hmac::sign(key, value).as_ref()),
            None => MASK.to_vec(),
        }
    }
}

/// Two digits for each byte.
pub fn hexadecimal(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .flat_map(|byte| format!("{byte:02x}").into_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{HashKey, Rules};

    #[test]
    fn excluded_is_stronger_than_wanted() {
        let rules = Rules {
            tables: vec!["public.*".parse().unwrap()],
            exclude: vec!["sessions".parse().unwrap()],
            ..Rules::default()
        };
        assert!(rules.wants("public", "todo", None));
        assert!(!rules.wants("public", "sessions", None));
        assert!(!rules.wants("audit", "todo", None));
        assert!(rules.wants("audit", "todo_1", Some(("public", "todo"))));
        assert!(!rules.wants("public", "sessions_1", Some(("public", "sessions"))));
        assert!(Rules::default().wants("audit", "todo", None));
    }

    #[test]
    fn a_hash_depends_on_key_and_value() {
        let with = |key: &str| Rules {
            hash_key: Some(HashKey::new(key)),
            ..Rules::default()
        };
        assert_eq!(with("a").hashed(b"x"), with("a").hashed(b"x"));
        assert_ne!(with("a").hashed(b"x"), with("b").hashed(b"x"));
        assert_ne!(with("a").hashed(b"x"), with("a").hashed(b"y"));
        assert_eq!(with("a").hashed(b"x").len(), 64);
        assert_eq!(Rules::default().hashed(b"x"), b"***");
    }
}
