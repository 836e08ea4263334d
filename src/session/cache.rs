//! The verdicts on SQL texts, shared by all connections.

use std::sync::Arc;

use super::Verdict;
use crate::sql::cache::{AboutText, Limits, TextCache};
use crate::sql::{Dialect, Rules};

/// Verdicts by text and dialect, under rules that never change: a new configuration makes a new cache.
#[derive(Debug)]
pub struct VerdictCache {
    rules: Rules,
    verdicts: TextCache<Verdict>,
}

impl AboutText for Verdict {
    fn is_for(&self, text: &[u8], dialect: Dialect) -> bool {
        Self::is_for(self, text, dialect)
    }

    fn weight(&self) -> usize {
        Self::weight(self)
    }
}

impl VerdictCache {
    /// An empty cache.
    pub fn new(rules: Rules, limits: Limits) -> Self {
        Self {
            rules,
            verdicts: TextCache::new(limits),
        }
    }

    /// The verdict on this text.
    pub fn get(&self, text: &[u8], dialect: Dialect) -> Arc<Verdict> {
        self.verdicts
            .get_or_make(text, dialect, || Verdict::new(text, dialect, &self.rules))
    }
}
