//! No text makes the analysis panic, and what it says of any text holds together.

use bemi::sql::{
    Analysis, Dialect, FunctionName, Kind, Rules, Statement, analyze, is_plain_select, normalize,
};
use bemi::wire::encoding::ClientEncoding;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Words and marks that mean something, and bytes that may end a text or a character too early.
const PIECES: &[&[u8]] = &[
    b"'",
    b"''",
    b"E'",
    b"U&'",
    b"U&\"",
    b"\"",
    b"$$",
    b"$a$",
    b"$1",
    b"$99999999999",
    b"b'",
    b"N'",
    b"\\",
    b"\\u00e",
    b"\\ud83d",
    b"\\x",
    b"/*",
    b"*/",
    b"/*Bemi {\"a\": 1} Bemi*/",
    b"/*Bemi",
    b"Bemi*/",
    b"/*a='b'*/",
    b"/*a='%",
    b"/*a:b*/",
    b"--",
    b"\n",
    b"\r",
    b"\t",
    b" ",
    b" ",
    b" ",
    b";",
    b"(",
    b")",
    b",",
    b".",
    b"::",
    b":=",
    b"=",
    b"+-",
    b"@-",
    b"*",
    b"[",
    b"1",
    b"1.5e",
    b"0x",
    b"\xff",
    b"\x83\\",
    b"\x81\x30",
    b"\xe3\x81",
    b"\0",
    "é".as_bytes(),
    b"select",
    b"insert",
    b"into",
    b"update",
    b"delete",
    b"from",
    b"merge",
    b"with",
    b"recursive",
    b"as",
    b"not",
    b"materialized",
    b"search",
    b"cycle",
    b"set",
    b"using",
    b"to",
    b"explain",
    b"analyze",
    b"verbose",
    b"off",
    b"copy",
    b"truncate",
    b"table",
    b"only",
    b"create",
    b"temp",
    b"or",
    b"replace",
    b"function",
    b"procedure",
    b"begin",
    b"atomic",
    b"end",
    b"case",
    b"commit",
    b"and",
    b"chain",
    b"rollback",
    b"savepoint",
    b"release",
    b"prepare",
    b"execute",
    b"deallocate",
    b"all",
    b"reset",
    b"discard",
    b"local",
    b"bemi.context",
    b"default",
    b"current",
    b"set_config",
    b"set_config('bemi.context',",
    b"uescape",
    b"call",
    b"do",
    b"touch(",
    b"pg_prepared_statements",
    b"\"pg_prepared_statements\"",
    b"\"set_config\"(",
    b"client_encoding",
    b"t",
    b"null",
    b"true",
    b"cast",
];

const ENCODINGS: &[ClientEncoding] = &[
    ClientEncoding::Utf8,
    ClientEncoding::SqlAscii,
    ClientEncoding::Sjis,
    ClientEncoding::Gb18030,
    ClientEncoding::Johab,
    ClientEncoding::Big5,
    ClientEncoding::EucTw,
    ClientEncoding::Latin1,
];

fn rules() -> Rules {
    let function = FunctionName {
        schema: None,
        name: "touch".to_owned(),
    };
    Rules {
        marginalia: true,
        functions: vec![function],
        max_context_bytes: 100,
        ..Rules::default()
    }
}

fn check(text: &[u8], dialect: Dialect, rules: &Rules) {
    let analysis = analyze(text, dialect, rules);
    let is_plain = is_plain_select(text, dialect, rules);
    assert!(!is_plain || tells_nothing(&analysis), "{}", text.escape_ascii());
    let mut behind = 0;
    for statement in analysis.statements {
        assert!(behind <= statement.range.start, "overlap in {text:?}");
        check_statement(text, &statement);
        behind = statement.range.end;
    }
    assert!(normalize(text, dialect).len() <= text.len() * 12 + 12);
}

/// Whether a proxy that knows this of a text does as if it knew nothing.
fn tells_nothing(analysis: &Analysis) -> bool {
    let is_nothing = |statement: &Statement| {
        statement.kind == Kind::Other && statement.problems.is_empty() && statement.set_config.is_none()
    };
    !analysis.mentions_prepared_statements
        && !analysis.may_change_dialect
        && analysis.statements.iter().all(is_nothing)
}

fn check_statement(text: &[u8], statement: &Statement) {
    let Statement { range, body, .. } = statement;
    assert!(
        range.start <= body.start
            && body.start < body.end
            && body.end <= range.end
            && range.end <= text.len()
    );
    if let Kind::Prepare { inner, .. } = &statement.kind {
        assert!(range.start < inner.range.start && inner.range.end == range.end);
    }
}

#[test]
fn any_sequence_of_pieces_is_read_without_panic() {
    let rules = rules();
    for seed in 0..20_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut text = Vec::new();
        for _ in 0..random.random_range(0..30) {
            text.extend_from_slice(PIECES[random.random_range(0..PIECES.len())]);
            if random.random_bool(0.5) {
                text.push(b' ');
            }
        }
        let encoding = ENCODINGS[random.random_range(0..ENCODINGS.len())];
        let dialect = Dialect {
            standard_conforming_strings: random.random_bool(0.7),
            encoding,
        };
        check(&text, dialect, &rules);
    }
}

#[test]
fn the_short_way_finds_nothing_where_the_long_one_does() {
    let mut plain = 0;
    for seed in 0..40_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let rules = if seed % 2 == 0 { rules() } else { Rules::default() };
        let dialect = Dialect {
            standard_conforming_strings: random.random_bool(0.7),
            encoding: ENCODINGS[random.random_range(0..ENCODINGS.len())],
        };
        let mut text = b"select ".to_vec();
        for _ in 0..random.random_range(0..6) {
            text.extend_from_slice(PIECES[random.random_range(0..PIECES.len())]);
            if random.random_bool(0.5) {
                text.push(b' ');
            }
        }
        plain += usize::from(is_plain_select(&text, dialect, &rules));
        check(&text, dialect, &rules);
    }
    assert!((5_000..35_000).contains(&plain), "{plain}");
}

#[test]
fn any_bytes_are_read_without_panic() {
    let rules = rules();
    for seed in 0..3_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let text: Vec<u8> = (0..random.random_range(0..40)).map(|_| random.random()).collect();
        for encoding in ENCODINGS {
            check(
                &text,
                Dialect {
                    standard_conforming_strings: seed % 2 == 0,
                    encoding: *encoding,
                },
                &rules,
            );
        }
    }
}

#[test]
fn a_text_cut_anywhere_is_read_without_panic() {
    let rules = rules();
    for transcript in [
        include_str!("sql/kinds.txt"),
        include_str!("sql/settings.txt"),
        include_str!("sql/comments.txt"),
    ] {
        for line in transcript.lines() {
            for end in 0..=line.len() {
                check(&line.as_bytes()[..end], Dialect::default(), &rules);
            }
        }
    }
}

#[test]
fn deep_nesting_and_long_runs_take_neither_stack_nor_ages() {
    let rules = rules();
    for (open, close) in [
        ("(", ")"),
        ("/*", "*/"),
        ("with a as (", ")"),
        ("create function f() begin atomic ", "; end"),
        ("select set_config((", ""),
    ] {
        let text = open.repeat(20_000) + "select 1" + &close.repeat(20_000);
        check(text.as_bytes(), Dialect::default(), &rules);
    }
    for run in [
        "+",
        "*-",
        "/",
        "$",
        "$a",
        "'a'\n",
        "\"",
        "U&",
        ";",
        "set_config(",
        "--\n",
        "/*",
        "a.",
        "1_",
        "[",
        "as into ",
    ] {
        check(
            ("select ".to_owned() + &run.repeat(100_000)).as_bytes(),
            Dialect::default(),
            &rules,
        );
    }
}
