//! What many comparisons came to.

use crate::compare::{Agreed, compare};
use crate::mutate::mutant;

/// Of disagreements, so many are shown.
const SHOWN: usize = 30;

/// How much was compared.
#[derive(Default)]
pub struct Tally {
    pub texts: usize,
    pub parsed: usize,
    pub scanned: usize,
    pub statements: usize,
    pub refused_later: usize,
    pub writes: usize,
}

impl Tally {
    pub fn add(&mut self, agreed: Agreed) {
        self.texts += 1;
        self.parsed += usize::from(agreed.is_parsed);
        self.scanned += usize::from(agreed.is_scanned);
        self.statements += agreed.statements;
        self.refused_later += agreed.refused_later;
        self.writes += agreed.writes;
    }
}

/// # Panics
/// When there is a disagreement.
pub fn assert_none_wrong(wrong: &[String]) {
    let shown = wrong.get(..SHOWN).unwrap_or(wrong);
    assert!(
        wrong.is_empty(),
        "{}\n{} wrong",
        shown.join("\n----\n"),
        wrong.len()
    );
}

/// Compares random changes of these texts: `MUTANTS` of them, or `usual`, from the seed `BEMI_SEED` on. Every fourth is read
/// with `standard_conforming_strings = off`.
///
/// # Panics
/// When there is a disagreement, or hardly any text was SQL.
pub fn hold_mutants(corpus: &[String], usual: u64) {
    let first = number("BEMI_SEED", 0);
    let seeds = number("MUTANTS", usual);
    let mut tally = Tally::default();
    let mut wrong = Vec::new();
    for seed in first..first + seeds {
        let mutant = mutant(seed, corpus);
        match compare(&mutant.text, seed % 4 != 0, mutant.markers) {
            Ok(agreed) => tally.add(agreed),
            Err(error) => wrong.push(format!("BEMI_SEED={seed}: {error}\n{}", mutant.text)),
        }
    }
    println!(
        "{seeds} texts: {} parsed ({} statements, {} writes), {} scanned",
        tally.parsed, tally.statements, tally.writes, tally.scanned
    );
    assert_none_wrong(&wrong);
    assert!(
        seeds < 1000 || tally.parsed as u64 > seeds / 8,
        "{} of {seeds} texts were SQL",
        tally.parsed
    );
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |value| value.parse().expect("a number"))
}
