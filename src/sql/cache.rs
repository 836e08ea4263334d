//! The verdicts on SQL texts, shared by all connections.
//!
//! Applications send the same few texts again and again; the verdict on each is kept. Three things must hold. A verdict
//! is never that of another text: an entry is found by its hash but believed only if its whole text and dialect agree.
//! Memory is bounded, in entries and in bytes. And it must cost less than what it saves: lookups of different texts
//! rarely meet, as the entries are spread over shards by their hash, and a hit takes a shared lock and sets one flag.
//!
//! Eviction is by clock: each shard is a ring with a hand, an entry that was hit since the hand last passed is spared
//! once. Texts with literals in them, which never come again, so push out each other and not what is in use.
//!
//! Rejected: a least-recently-used list, which makes every hit a write; a map that is emptied when full, which makes
//! every connection pay at the same moment; one concurrent map with a global count, which cannot tell whom to evict.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Map, Value};

use crate::sql::{Analysis, Dialect, Kind, Rules, Statement, analyze};

/// Enough that two of a few dozen workers rarely want the same one, few enough that each holds many entries.
const SHARDS: usize = 16;

/// How much the cache may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `statement_cache_entries`: how many texts are kept; 0 keeps none.
    pub entries: usize,
    /// `statement_cache_bytes`: how much memory texts and verdicts may take up, as estimated.
    pub bytes: usize,
    /// `statement_cache_text_bytes`: a text longer than this is analysed each time and never kept.
    pub text_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 10_000,
            bytes: 64 << 20,
            text_bytes: 64 << 10,
        }
    }
}

/// Verdicts by text and dialect, under rules that never change: a new configuration makes a new cache.
#[derive(Debug)]
pub struct VerdictCache {
    rules: Rules,
    limits: Limits,
    hasher: RandomState,
    shards: Box<[RwLock<Shard>]>,
}

impl VerdictCache {
    /// An empty cache.
    pub fn new(rules: Rules, limits: Limits) -> Self {
        let shards = SHARDS.min(limits.entries.max(1));
        let shard = || RwLock::new(Shard::new(limits.entries / shards, limits.bytes / shards));
        Self {
            rules,
            limits,
            hasher: RandomState::new(),
            shards: (0..shards).map(|_| shard()).collect(),
        }
    }

    /// The rules that all its verdicts follow.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The verdict on this text.
    pub fn get_or_analyze(&self, text: &[u8], dialect: Dialect) -> Arc<Analysis> {
        let hash = self.hasher.hash_one((text, dialect));
        let shard = self.shards.get((hash >> 32) as usize % self.shards.len());
        let Some(shard) = shard.filter(|_| text.len() <= self.limits.text_bytes) else {
            return Arc::new(analyze(text, dialect, &self.rules));
        };
        // A panic cannot leave a shard half-changed in a way that matters: every entry is verified when it is found.
        if let Some(known) = shard
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(hash, text, dialect)
        {
            return known;
        }
        let analysis = Arc::new(analyze(text, dialect, &self.rules));
        let entry = Entry::new(hash, text, dialect, Arc::clone(&analysis));
        shard
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(entry);
        analysis
    }

    /// How many texts it holds.
    pub fn len(&self) -> usize {
        self.sum(|shard| shard.ring.len())
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much memory they take up, as estimated, in bytes.
    pub fn bytes(&self) -> usize {
        self.sum(|shard| shard.bytes)
    }

    fn sum(&self, of: fn(&Shard) -> usize) -> usize {
        self.shards
            .iter()
            .map(|shard| of(&shard.read().unwrap_or_else(PoisonError::into_inner)))
            .sum()
    }
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    text: Box<[u8]>,
    dialect: Dialect,
    analysis: Arc<Analysis>,
    bytes: usize,
    was_hit: AtomicBool,
}

impl Entry {
    fn new(hash: u64, text: &[u8], dialect: Dialect, analysis: Arc<Analysis>) -> Self {
        let bytes = size_of::<Self>() + size_of::<(u64, usize)>() + text.len() + analysis_bytes(&analysis);
        Self {
            hash,
            text: text.into(),
            dialect,
            analysis,
            bytes,
            was_hit: AtomicBool::new(false),
        }
    }
}

/// A part of the entries: a ring, and where in it the text of a hash is.
#[derive(Debug)]
struct Shard {
    most_entries: usize,
    most_bytes: usize,
    ring: Vec<Entry>,
    places: HashMap<u64, usize>,
    hand: usize,
    bytes: usize,
}

impl Shard {
    fn new(most_entries: usize, most_bytes: usize) -> Self {
        Self {
            most_entries,
            most_bytes,
            ring: Vec::new(),
            places: HashMap::new(),
            hand: 0,
            bytes: 0,
        }
    }

    fn get(&self, hash: u64, text: &[u8], dialect: Dialect) -> Option<Arc<Analysis>> {
        let entry = self.ring.get(*self.places.get(&hash)?)?;
        if *entry.text != *text || entry.dialect != dialect {
            return None;
        }
        entry.was_hit.store(true, Ordering::Relaxed);
        Some(Arc::clone(&entry.analysis))
    }

    /// Makes room, then keeps the entry; of two with one hash the newer stays.
    fn insert(&mut self, entry: Entry) {
        if self.most_entries == 0 || entry.bytes > self.most_bytes {
            return;
        }
        if let Some(place) = self.places.get(&entry.hash) {
            self.remove(*place);
        }
        while self.ring.len() >= self.most_entries || self.bytes + entry.bytes > self.most_bytes {
            self.evict();
        }
        self.bytes += entry.bytes;
        self.places.insert(entry.hash, self.ring.len());
        self.ring.push(entry);
    }

    fn evict(&mut self) {
        loop {
            if self.hand >= self.ring.len() {
                self.hand = 0;
            }
            let spare = self
                .ring
                .get(self.hand)
                .is_some_and(|entry| entry.was_hit.swap(false, Ordering::Relaxed));
            if !spare {
                return self.remove(self.hand);
            }
            self.hand += 1;
        }
    }

    /// Takes an entry out; the last one of the ring gets its place.
    fn remove(&mut self, place: usize) {
        if place >= self.ring.len() {
            return;
        }
        let removed = self.ring.swap_remove(place);
        self.places.remove(&removed.hash);
        self.bytes -= removed.bytes;
        if let Some(moved) = self.ring.get(place) {
            self.places.insert(moved.hash, place);
        }
    }
}

fn analysis_bytes(analysis: &Analysis) -> usize {
    size_of::<Analysis>() + analysis.statements.iter().map(statement_bytes).sum::<usize>()
}

fn statement_bytes(statement: &Statement) -> usize {
    let targets = statement
        .targets
        .iter()
        .map(|table| size_of_val(table) + table.name.len() + table.schema.as_ref().map_or(0, String::len));
    let problems = statement
        .problems
        .iter()
        .map(|problem| size_of_val(problem) + problem.len());
    let inner = match &statement.kind {
        Kind::Prepare { inner, .. } => statement_bytes(inner),
        _ => 0,
    };
    let context = statement.context.as_ref().map_or(0, object_bytes);
    let has_literal = statement.set_config.is_some() || matches!(statement.kind, Kind::Set { .. });
    let literal = if has_literal { statement.range.len() } else { 0 };
    size_of_val(statement) + targets.sum::<usize>() + problems.sum::<usize>() + inner + context + literal
}

fn object_bytes(object: &Map<String, Value>) -> usize {
    // A bucket of the map holds key, value and hash, and the index beside it a word or two.
    let bucket = size_of::<String>() + size_of::<Value>() + 3 * size_of::<usize>();
    object
        .iter()
        .map(|(key, value)| bucket + key.len() + value_bytes(value))
        .sum()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 0,
        Value::Number(number) => number.as_str().len(),
        Value::String(text) => text.len(),
        Value::Array(items) => items
            .iter()
            .map(|item| size_of_val(item) + value_bytes(item))
            .sum(),
        Value::Object(object) => object_bytes(object),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: usize, bytes: usize) -> VerdictCache {
        VerdictCache::new(
            Rules::default(),
            Limits {
                entries,
                bytes,
                text_bytes: 1000,
            },
        )
    }

    fn entry(hash: u64, text: &str) -> Entry {
        Entry::new(
            hash,
            text.as_bytes(),
            Dialect::default(),
            Arc::new(Analysis::default()),
        )
    }

    fn holds(shard: &Shard, hash: u64, text: &str) -> bool {
        shard.get(hash, text.as_bytes(), Dialect::default()).is_some()
    }

    #[test]
    fn a_text_is_analysed_once() {
        let cache = cache(100, 1 << 20);
        let first = cache.get_or_analyze(b"insert into t values (1)", Dialect::default());
        let second = cache.get_or_analyze(b"insert into t values (1)", Dialect::default());
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(first.statements[0].kind, Kind::Write);
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn the_dialect_is_part_of_the_key() {
        let cache = cache(100, 1 << 20);
        let text = br"select 'a\'; delete from t; --'";
        let old = Dialect {
            standard_conforming_strings: false,
            ..Dialect::default()
        };
        assert_eq!(cache.get_or_analyze(text, Dialect::default()).statements.len(), 2);
        assert_eq!(cache.get_or_analyze(text, old).statements.len(), 1);
    }

    #[test]
    fn a_collision_never_gives_the_verdict_of_another_text() {
        let mut shard = Shard::new(10, 1 << 20);
        shard.insert(entry(7, "a"));
        assert!(holds(&shard, 7, "a"));
        assert!(!holds(&shard, 7, "b"));
        shard.insert(entry(7, "b"));
        assert!(holds(&shard, 7, "b"));
        assert!(!holds(&shard, 7, "a"));
        assert_eq!(shard.ring.len(), 1);
    }

    #[test]
    fn what_is_in_use_outlives_what_comes_once() {
        let mut shard = Shard::new(4, 1 << 20);
        shard.insert(entry(0, "used"));
        for hash in 1..100 {
            shard.insert(entry(hash, "once"));
            assert!(holds(&shard, 0, "used"), "lost at {hash}");
            assert!(shard.ring.len() <= 4);
        }
    }

    #[test]
    fn entries_and_bytes_are_bounded() {
        let cache = cache(64, 64 << 10);
        for number in 0..5000 {
            let text = format!(
                "/*Bemi {{\"n\": {number}}} Bemi*/ select '{}'",
                "x".repeat(number % 900)
            );
            cache.get_or_analyze(text.as_bytes(), Dialect::default());
            assert!(cache.len() <= 64 && cache.bytes() <= 64 << 10, "after {number}");
        }
        assert!(cache.len() > 16);
        for shard in &cache.shards {
            let shard = shard.read().expect("no panic yet");
            assert_eq!(
                shard.bytes,
                shard.ring.iter().map(|entry| entry.bytes).sum::<usize>()
            );
            assert_eq!(shard.places.len(), shard.ring.len());
            assert!(
                shard
                    .ring
                    .iter()
                    .enumerate()
                    .all(|(place, entry)| shard.places.get(&entry.hash) == Some(&place))
            );
        }
    }

    #[test]
    fn long_texts_are_not_kept() {
        let cache = cache(64, 1 << 20);
        cache.get_or_analyze(&[b' '; 1001], Dialect::default());
        assert!(cache.is_empty());
    }

    #[test]
    fn a_cache_of_nothing_keeps_nothing() {
        for cache in [cache(0, 1 << 20), cache(64, 0)] {
            assert_eq!(
                cache
                    .get_or_analyze(b"select 1", Dialect::default())
                    .statements
                    .len(),
                1
            );
            assert!(cache.is_empty());
        }
    }
}
