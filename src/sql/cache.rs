//! What is known about SQL texts, shared by all connections.
//!
//! Applications send the same few texts again and again; what was found out about each is kept. Three things must
//! hold. Nothing found is ever about another text: a value is looked up by hash, but taken only if it says that it is
//! about this very text and dialect. Memory is bounded, in entries and in bytes. And it must cost less than it saves:
//! lookups of different texts rarely meet, as the entries are spread over shards by their hash, and a hit takes a shared
//! lock and sets one flag. The hash is a fast one with a seed of its own: texts that collide all the same push each other
//! out, and nothing worse.
//!
//! A text is kept when it comes for the second time: of the first, only a mark stays. Texts with literals in them,
//! which never come again, so cost neither room nor a lock, and push nothing out.
//!
//! Eviction is by clock: each shard is a ring with a hand, and an entry that was hit since the hand last passed is
//! spared once.
//!
//! Rejected: a least-recently-used list, which makes every hit a write; emptying the map when it is full, which makes
//! every connection pay at the same moment; one concurrent map with a global count, which cannot tell whom to evict.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::{fast, quality};

use crate::sql::Dialect;

/// Enough that two of a few dozen workers rarely want the same one, few enough that each holds many entries.
const SHARDS: usize = 16;

/// How much a cache may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `statement_cache_entries`: how many texts are kept; 0 keeps none.
    pub entries: usize,
    /// `statement_cache_bytes`: how much memory they may take up, as they estimate it themselves.
    pub bytes: usize,
    /// A text longer than this, in bytes, is never kept, and costs no look into the cache.
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

/// Something found out about a text.
pub trait AboutText {
    /// Whether it is about this text, read by this dialect.
    fn is_for(&self, text: &[u8], dialect: Dialect) -> bool;

    /// Bytes of memory it takes up, roughly, the text included.
    fn weight(&self) -> usize;
}

/// Things found out about texts. What they depend on besides text and dialect must be the same for all: a new
/// configuration makes a new cache.
#[derive(Debug)]
pub struct TextCache<V> {
    limits: Limits,
    hasher: quality::RandomState,
    came_once: Marks,
    shards: Box<[RwLock<Shard<V>>]>,
}

impl<V: AboutText> TextCache<V> {
    /// An empty cache.
    pub fn new(limits: Limits) -> Self {
        let shards = SHARDS.min(limits.entries.max(1));
        let shard = || RwLock::new(Shard::new(limits.entries / shards, limits.bytes / shards));
        Self {
            limits,
            hasher: quality::RandomState::default(),
            came_once: Marks::new(limits.entries),
            shards: (0..shards).map(|_| shard()).collect(),
        }
    }

    /// What is known about this text, or else is found out now, and kept if the text came before. Two connections that
    /// ask for one at the same moment both find out; the later one is kept.
    pub fn get_or_make(&self, text: &[u8], dialect: Dialect, make: impl FnOnce() -> V) -> Arc<V> {
        if text.len() > self.limits.text_bytes {
            return Arc::new(make());
        }
        let hash = self.hasher.hash_one((text, dialect));
        let Some(shard) = self.shards.get((hash >> 32) as usize % self.shards.len()) else {
            return Arc::new(make());
        };
        // A panic cannot leave a shard half-changed in a way that matters: every entry is asked whom it is for.
        if let Some(known) = shard
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(hash, text, dialect)
        {
            return known;
        }
        let made = Arc::new(make());
        if self.came_once.contained(hash) {
            shard
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(Entry::new(hash, Arc::clone(&made)));
        }
        made
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

    fn sum(&self, of: fn(&Shard<V>) -> usize) -> usize {
        self.shards
            .iter()
            .map(|shard| of(&shard.read().unwrap_or_else(PoisonError::into_inner)))
            .sum()
    }
}

/// Hashes that were seen: the last two of each place, one place for each text that the cache may hold. Two texts that
/// come in turn and share a place are so both remembered.
#[derive(Debug)]
struct Marks(Box<[AtomicU64]>);

impl Marks {
    /// So that a cache without a bound worth the name does not make 8 bytes for each of its entries at once.
    const MOST: usize = 1 << 20;

    fn new(entries: usize) -> Self {
        Self((0..entries.min(Self::MOST)).map(|_| AtomicU64::new(0)).collect())
    }

    /// Whether this hash was seen, as far as is remembered; now it was. Two threads that leave their marks in one place
    /// at the same moment may overwrite each other's: a text is found out about once more than needed.
    fn contained(&self, hash: u64) -> bool {
        const MARK: u64 = u32::MAX as u64;
        let (place, mark) = (hash >> 32, hash & MARK);
        let Some(seen) = self.0.get(place as usize % self.0.len().max(1)) else {
            return false;
        };
        let last = seen.load(Ordering::Relaxed);
        if last & MARK == mark || last >> 32 == mark {
            return true;
        }
        seen.store(last << 32 | mark, Ordering::Relaxed);
        false
    }
}

#[derive(Debug)]
struct Entry<V> {
    hash: u64,
    value: Arc<V>,
    bytes: usize,
    was_hit: AtomicBool,
}

impl<V: AboutText> Entry<V> {
    fn new(hash: u64, value: Arc<V>) -> Self {
        let bytes = size_of::<Self>() + size_of::<(u64, usize)>() + value.weight();
        Self {
            hash,
            value,
            bytes,
            was_hit: AtomicBool::new(false),
        }
    }
}

/// A part of the entries: a ring, and where in it the text of a hash is.
#[derive(Debug)]
struct Shard<V> {
    most_entries: usize,
    most_bytes: usize,
    ring: Vec<Entry<V>>,
    places: HashMap<u64, usize, fast::RandomState>,
    hand: usize,
    bytes: usize,
}

impl<V: AboutText> Shard<V> {
    fn new(most_entries: usize, most_bytes: usize) -> Self {
        Self {
            most_entries,
            most_bytes,
            ring: Vec::new(),
            places: HashMap::default(),
            hand: 0,
            bytes: 0,
        }
    }

    fn get(&self, hash: u64, text: &[u8], dialect: Dialect) -> Option<Arc<V>> {
        let entry = self.ring.get(*self.places.get(&hash)?)?;
        if !entry.value.is_for(text, dialect) {
            return None;
        }
        entry.was_hit.store(true, Ordering::Relaxed);
        Some(Arc::clone(&entry.value))
    }

    /// Makes room, then keeps the entry; of two with one hash the newer stays.
    fn insert(&mut self, entry: Entry<V>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The text itself is what is known about it.
    #[derive(Debug)]
    struct Known(Vec<u8>, Dialect);

    impl AboutText for Known {
        fn is_for(&self, text: &[u8], dialect: Dialect) -> bool {
            self.0 == text && self.1 == dialect
        }

        fn weight(&self) -> usize {
            self.0.len()
        }
    }

    fn cache(entries: usize, bytes: usize) -> TextCache<Known> {
        TextCache::new(Limits {
            entries,
            bytes,
            text_bytes: 1000,
        })
    }

    fn ask(cache: &TextCache<Known>, text: &str, dialect: Dialect) -> Arc<Known> {
        cache.get_or_make(text.as_bytes(), dialect, || Known(text.into(), dialect))
    }

    fn entry(hash: u64, text: &str) -> Entry<Known> {
        Entry::new(hash, Arc::new(Known(text.into(), Dialect::default())))
    }

    fn holds(shard: &Shard<Known>, hash: u64, text: &str) -> bool {
        shard.get(hash, text.as_bytes(), Dialect::default()).is_some()
    }

    #[test]
    fn what_is_known_is_not_made_again() {
        let cache = cache(100, 1 << 20);
        ask(&cache, "select 1", Dialect::default());
        let second = ask(&cache, "select 1", Dialect::default());
        let third = cache.get_or_make(b"select 1", Dialect::default(), || panic!("made again"));
        assert!(Arc::ptr_eq(&second, &third));
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn two_hashes_in_one_place_are_remembered() {
        let marks = Marks::new(1);
        assert!(!marks.contained(1 << 32 | 7));
        assert!(!marks.contained(2 << 32 | 8));
        assert!(marks.contained(1 << 32 | 7));
        assert!(marks.contained(2 << 32 | 8));
        assert!(!marks.contained(3 << 32 | 9));
        assert!(!marks.contained(1 << 32 | 7));
    }

    #[test]
    fn what_comes_once_is_not_kept() {
        let cache = cache(100, 1 << 20);
        for number in 0..100 {
            ask(&cache, &format!("select {number}"), Dialect::default());
        }
        assert!(cache.is_empty());
    }

    #[test]
    fn the_dialect_is_part_of_the_key() {
        let cache = cache(100, 1 << 20);
        let old = Dialect {
            standard_conforming_strings: false,
            ..Dialect::default()
        };
        assert_eq!(ask(&cache, "select 1", Dialect::default()).1, Dialect::default());
        assert_eq!(ask(&cache, "select 1", old).1, old);
    }

    #[test]
    fn a_collision_never_gives_what_is_known_about_another_text() {
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
            let text = format!("select {number}, '{}'", "x".repeat(number % 900));
            ask(&cache, &text, Dialect::default());
            ask(&cache, &text, Dialect::default());
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
            let mut ring = shard.ring.iter().enumerate();
            assert!(ring.all(|(place, entry)| shard.places.get(&entry.hash) == Some(&place)));
        }
    }

    #[test]
    fn long_texts_are_not_kept() {
        let cache = cache(64, 1 << 20);
        for _ in 0..3 {
            ask(&cache, &" ".repeat(1001), Dialect::default());
        }
        assert!(cache.is_empty());
    }

    #[test]
    fn a_cache_of_nothing_keeps_nothing() {
        for cache in [cache(0, 1 << 20), cache(64, 0)] {
            for _ in 0..3 {
                ask(&cache, "select 1", Dialect::default());
            }
            assert!(cache.is_empty());
        }
    }
}
