//! The texts of `tests/sql`, as they are and changed at random, mean the same to `bemi::sql` and to the server's grammar.

use bemi_parser_test::compare::compare;
use bemi_parser_test::corpus::transcripts;
use bemi_parser_test::tally::hold_mutants;

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
    let corpus: Vec<_> = transcripts().into_iter().map(|text| text.text).collect();
    hold_mutants(&corpus, 30_000);
}
