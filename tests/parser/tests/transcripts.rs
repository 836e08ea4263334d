//! The texts of `tests/sql`, as they are and changed at random, mean the same to `bemi::sql` and to the server's grammar.

use bemi_parser_test::compare::compare;
use bemi_parser_test::corpus::transcripts;
use bemi_parser_test::mutate::mutant;

#[test]
fn the_transcripts_mean_the_same_to_both() {
    let (mut parsed, mut writes, mut vague) = (0, 0, 0);
    let texts = transcripts();
    for text in &texts {
        let agreed = compare(&text.text, text.standard_conforming_strings, 0)
            .unwrap_or_else(|error| panic!("{error}\n{}", text.text));
        parsed += usize::from(agreed.is_parsed);
        writes += agreed.writes;
        vague += agreed.vague;
    }
    println!(
        "{} texts, of which {parsed} are SQL to the server, with {writes} writes",
        texts.len()
    );
    assert!(vague < 5, "{vague} times less was told than the tree has");
    assert!(parsed > 250 && writes > 90, "{parsed} texts, {writes} writes");
}

/// `MUTANTS=1000000` for more, `BEMI_SEED=17 MUTANTS=1` for one again.
#[test]
fn changed_at_random_they_still_do() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|value| value.parse::<u64>().expect("a number"))
    };
    let corpus: Vec<_> = transcripts().into_iter().map(|text| text.text).collect();
    let first = number("BEMI_SEED").unwrap_or(0);
    let count = number("MUTANTS").unwrap_or(30_000);
    let (mut parsed, mut scanned, mut writes, mut wrong) = (0, 0, 0, Vec::new());
    for seed in first..first + count {
        let mutant = mutant(seed, &corpus);
        let is_new = seed % 4 != 0;
        match compare(&mutant.text, is_new, mutant.markers) {
            Ok(agreed) => {
                parsed += u64::from(agreed.is_parsed);
                scanned += u64::from(agreed.is_scanned);
                writes += agreed.writes;
            }
            Err(error) => wrong.push(format!("BEMI_SEED={seed}: {error}\n{}", mutant.text)),
        }
    }
    println!(
        "{count} texts: {parsed} parsed, {scanned} scanned, {writes} writes, {} wrong",
        wrong.len()
    );
    let shown = wrong.len().min(30);
    assert!(
        wrong.is_empty(),
        "{}\n{} wrong",
        wrong[..shown].join("\n----\n"),
        wrong.len()
    );
    assert!(
        count < 1000 || parsed > count / 8,
        "{parsed} of {count} texts were SQL"
    );
}
