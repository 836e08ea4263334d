//! The verdicts on SQL texts, shared by all connections.

use std::sync::Arc;

use super::Verdict;
use crate::sql::cache::{AboutText, Limits, TextCache};
use crate::sql::{Dialect, Rules, is_plain_select};

/// Up to here, in bytes, reading a text for words of interest takes no longer than looking it up.
const SHORT: usize = 128;

/// Verdicts by text and dialect, under rules that never change: a new configuration makes a new cache.
#[derive(Debug)]
pub struct VerdictCache {
    rules: Rules,
    verdicts: TextCache<Verdict>,
    /// On every text that nothing needs to be known of.
    plain: Arc<Verdict>,
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
            plain: Arc::new(Verdict::new(b"", Dialect::default(), &rules)),
            rules,
            verdicts: TextCache::new(limits),
        }
    }

    /// The verdict on this text.
    pub fn get(&self, text: &[u8], dialect: Dialect) -> Arc<Verdict> {
        if text.len() <= SHORT && is_plain_select(text, dialect, &self.rules) {
            return Arc::clone(&self.plain);
        }
        self.verdicts
            .get_or_make(text, dialect, || Verdict::new(text, dialect, &self.rules))
    }
}
