//! The fuzz targets, called with seeded random inputs for a moment each: what `make fuzz` does for longer and with
//! coverage to guide it. `BEMI_FUZZ_SEED` replays a run, `BEMI_FUZZ_MS` says how long each target gets, and
//! `BEMI_FUZZ_TARGET` names the only one to run.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use targets::{TARGETS, Target};

/// Longer inputs find no more in so little time.
const MAX_LEN: usize = 512;

#[test]
fn no_target_finds_anything_in_a_moment() {
    let seed = variable("BEMI_FUZZ_SEED").unwrap_or_else(|| rand::rng().next_u64());
    let time = Duration::from_millis(variable("BEMI_FUZZ_MS").unwrap_or(400));
    let only = std::env::var("BEMI_FUZZ_TARGET").ok();
    let wanted = |target: &&Target| only.as_deref().is_none_or(|name| name == target.name);
    for target in TARGETS.iter().filter(wanted) {
        for input in target.seeds {
            check(target, input, seed);
        }
        let mut rng = StdRng::seed_from_u64(seed);
        let end = Instant::now() + time;
        let mut corpus: Vec<Vec<u8>> = target.seeds.iter().map(|seed| seed.to_vec()).collect();
        while Instant::now() < end {
            let input = mutated(&mut rng, &corpus);
            check(target, &input, seed);
            if corpus.len() < 64 {
                corpus.push(input);
            }
        }
    }
}

#[test]
fn every_target_has_a_file_for_the_fuzzer() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/fuzz_targets");
    let mut files: Vec<String> = std::fs::read_dir(directory)
        .expect("the fuzz targets")
        .map(|file| file.expect("a file").path())
        .map(|path| path.file_stem().expect("a name").display().to_string())
        .collect();
    files.sort();
    let mut names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    names.sort_unstable();
    assert_eq!(files, names);
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}"))
    })
}

fn check(target: &Target, input: &[u8], seed: u64) {
    if fails(target, input) {
        let least = shrunk(target, input);
        eprintln!(
            "BEMI_FUZZ_SEED={seed}: the target {} fails on b\"{}\"",
            target.name,
            least.escape_ascii()
        );
        targets::run(target.name, &least);
        targets::run(target.name, input);
    }
}

fn fails(target: &Target, input: &[u8]) -> bool {
    // What a panic prints is of interest for the smallest input only.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let run = || targets::run(target.name, input);
    let failed = catch_unwind(AssertUnwindSafe(run)).is_err();
    std::panic::set_hook(hook);
    failed
}

/// A shorter input that fails as well, found by leaving out one piece after the other.
fn shrunk(target: &Target, input: &[u8]) -> Vec<u8> {
    let mut least = input.to_vec();
    let mut len = least.len();
    while len > 0 {
        let mut at = 0;
        while at < least.len() {
            let mut shorter = least.clone();
            shorter.drain(at..(at + len).min(least.len()));
            if fails(target, &shorter) {
                least = shorter;
            } else {
                at += len;
            }
        }
        len /= 2;
    }
    least
}

/// Noise, or an earlier input with a few bytes changed, cut, doubled or put together with another one.
fn mutated(rng: &mut StdRng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[rng.random_range(0..corpus.len())].clone();
    if rng.random_ratio(1, 4) {
        bytes.resize(rng.random_range(0..=MAX_LEN), 0);
        rng.fill_bytes(&mut bytes);
    }
    for _ in 0..rng.random_range(1..8) {
        let at = rng.random_range(0..=bytes.len());
        match rng.random_range(0..5) {
            0 => bytes.insert(at, rng.random()),
            1 => bytes.truncate(at),
            2 => {
                let other = &corpus[rng.random_range(0..corpus.len())];
                let from = rng.random_range(0..=other.len());
                bytes.extend_from_slice(&other[from..]);
            }
            3 => {
                let copy = bytes[at..].to_vec();
                bytes.extend(copy);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = rng.random();
                }
            }
        }
    }
    bytes.truncate(MAX_LEN);
    bytes
}
