//! PostgreSQL's regression suite means the same to `bemi::sql` and to the server's grammar.
//!
//! The suite is not kept here: `make test-lexer` fetches it and runs this. It is that of the distribution's server, the
//! grammar that of PostgreSQL 18. What the grammar does not take is counted, and shown with `SHOW_REFUSED=1`: texts of
//! the suite that are errors on purpose, and those with a variable whose value psql has from a result.

use std::collections::BTreeMap;

use bemi_parser_test::compare::compare;
use bemi_parser_test::corpus::{Suite, Text, sources, suite};
use bemi_parser_test::parser;
use bemi_parser_test::tally::{Tally, assert_none_wrong, hold_mutants};

fn suite_of_the_sources() -> Suite {
    suite(&sources().expect("sources: scripts/install-regress-sources.sh fetches them"))
}

#[test]
fn every_statement_of_the_suite_means_the_same_to_both() {
    let suite = suite_of_the_sources();
    let mut count = Tally::default();
    let mut wrong = Vec::new();
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    for source in &suite.sources {
        for text in &source.texts {
            match compare(&text.text, text.standard_conforming_strings, 0) {
                Ok(agreed) => {
                    if !agreed.is_parsed {
                        *refused.entry(source.path.display().to_string()).or_default() += 1;
                        if std::env::var_os("SHOW_REFUSED").is_some() {
                            println!("REFUSED {}: {}", source.path.display(), text.text.trim());
                        }
                    }
                    count.add(agreed);
                }
                Err(error) => wrong.push(format!("{}: {error}\n{}", source.path.display(), text.text)),
            }
        }
    }
    println!(
        "{} files; {} commands of psql and {} lines of data are none of ours",
        suite.sources.len(),
        suite.commands,
        suite.lines_of_data
    );
    println!("not read, as they are not UTF-8: {:?}", suite.other_encodings);
    println!(
        "{} texts: {} parsed ({} statements, {} writes, {} refused by the server after parsing), {} refused by the parser",
        count.texts,
        count.parsed,
        count.statements,
        count.writes,
        count.refused_later,
        count.texts - count.parsed
    );
    for (path, refused) in refused.iter().filter(|(_, refused)| **refused > 9) {
        println!("  {refused} refused of {path}");
    }
    assert_none_wrong(&wrong);
    assert!(count.parsed > 30_000, "{} texts", count.parsed);
    assert!(
        count.parsed * 100 > count.texts * 97,
        "more than 3 % were not compared"
    );
}

/// What one file sends, sent at once: only texts that the parser takes can stand together.
#[test]
fn every_file_of_the_suite_as_one_text_has_the_same_boundaries() {
    let mut statements = 0;
    for source in suite_of_the_sources().sources {
        for is_new in [true, false] {
            let of_one_kind: String = source
                .texts
                .iter()
                .filter(|text| {
                    text.standard_conforming_strings == is_new && parser::parse(&text.text, is_new).is_some()
                })
                .map(whole)
                .collect();
            let agreed = compare(&of_one_kind, is_new, 0)
                .unwrap_or_else(|error| panic!("{}: {error}", source.path.display()));
            assert!(agreed.is_parsed, "{}", source.path.display());
            statements += agreed.statements;
        }
    }
    println!("{statements} statements");
    assert!(statements > 30_000, "{statements} statements");
}

/// A comment to the end of the line must not swallow the next statement.
fn whole(text: &Text) -> String {
    let end = if text.text.trim_end().ends_with(';') {
        "\n"
    } else {
        "\n;\n"
    };
    text.text.clone() + end
}

#[test]
fn changed_at_random_the_suite_still_means_the_same() {
    let texts = suite_of_the_sources()
        .sources
        .into_iter()
        .flat_map(|source| source.texts);
    let corpus: Vec<_> = texts
        .map(|text| text.text)
        .filter(|text| text.len() < 2_000)
        .collect();
    hold_mutants(&corpus, 100_000);
}
