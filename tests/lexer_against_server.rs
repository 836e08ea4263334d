//! The lexer and a real server read the same texts the same way.

mod support;

use bemi::sql::{Dialect, Kind, Rules, SetValue, Statement, analyze};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

/// Items of a select list that hide a `;` or something like one, or end where it is hard to tell.
const ITEMS: &[&str] = &[
    "1",
    "'a;b'",
    "'it''s;'",
    r"E'\';'",
    r"e'\\'",
    "$$;$$",
    "$x$;$$;$x$",
    "$ä$;$ä$",
    r"U&'\003b;'",
    "U&';!003b' uescape '!'",
    "'a'\n';b'",
    "'a' -- ';\n ';b'",
    "b'01'",
    "X'1f'\n'2a'",
    "n';'",
    "2 /* ; /* ; */ ' */",
    "3 -- ;'\n",
    "- -1",
    "@ -1",
    "+-+1",
    "4 as \";\"",
    "5 as \"a\"\"b;\"",
    "6 as U&\"\\003b;\"",
    "(select 7; )",
    "(select 8)",
    "case when true then 1 else 2 end",
    "9 as end",
    "10 as begin",
    "1*/*;*/2",
    "3@-- ;\n-4",
    "array[1,2]",
    "1.",
    ".5",
    "1e3",
    "1::int",
    "'a'::text",
    "current_user",
    "2^-1",
    "'{\";\": 1}'::json->>';'",
    "4/*;*/+/*;*/5",
    "1<-1",
    "a.b from (select 1 as b) a",
];

const ENDS: &[&str] = &[";", ";;", " ; /*;*/ ; ", "; -- ;\n", ";\n"];

fn pick<'a>(random: &mut StdRng, among: &[&'a str]) -> &'a str {
    among[random.random_range(0..among.len())]
}

/// What the server makes of a text: how many statements it ran, or that it did not take it.
async fn count(client: &Client, text: &str) -> Result<usize, SqlState> {
    let messages = client
        .simple_query(text)
        .await
        .map_err(|error| error.code().expect("a server's error").clone())?;
    Ok(messages
        .iter()
        .filter(|message| matches!(message, SimpleQueryMessage::CommandComplete(_)))
        .count())
}

#[tokio::test]
async fn a_text_has_as_many_statements_as_the_server_runs() {
    let client = support::connect(support::cluster().port(), "postgres").await;
    let mut agreed = 0;
    for seed in 0..3_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut text = String::new();
        for _ in 0..random.random_range(1..5) {
            let items: Vec<_> = (0..random.random_range(1..4))
                .map(|_| pick(&mut random, ITEMS))
                .collect();
            text += &format!("select {}", items.join(", "));
            text += pick(&mut random, ENDS);
        }
        let Ok(ran) = count(&client, &text).await else {
            continue;
        };
        let ours = analyze(text.as_bytes(), Dialect::default(), &Rules::default())
            .statements
            .len();
        assert_eq!(ours, ran, "seed {seed}: {text}");
        agreed += 1;
    }
    assert!(agreed > 1_000, "only {agreed} texts were valid");
}

/// Each statement that we cut out of these, on its own, is one statement to the server as well: neither more than one,
/// nor none, nor one with its end missing.
#[tokio::test]
async fn each_statement_is_one_to_the_server() {
    let client = support::connect(support::cluster().port(), "postgres").await;
    for transcript in [include_str!("sql/boundaries.txt"), include_str!("sql/kinds.txt")] {
        for text in transcript
            .split("\n=>")
            .filter_map(|case| case.split_once('\n'))
            .map(|(_, text)| text)
        {
            let whole: Vec<_> = text
                .lines()
                .filter(|line| !line.starts_with(['#', '@']))
                .collect();
            let whole = whole.join("\n");
            if !is_syntactically_right(&client, &whole).await {
                continue;
            }
            for Statement { range, .. } in
                analyze(whole.as_bytes(), Dialect::default(), &Rules::default()).statements
            {
                let piece = &whole[range];
                if let Err(error) = client.prepare(piece).await {
                    let message = error.as_db_error().expect("a server's error").message();
                    let is_cut_wrong = ["syntax error", "unterminated", "multiple commands"];
                    assert!(
                        !is_cut_wrong.iter().any(|wrong| message.contains(wrong)),
                        "{message}: {piece:?} of {whole}"
                    );
                }
            }
        }
    }
}

/// The server reads a text as a whole before it runs any of it, here nothing, as the first statement fails.
async fn is_syntactically_right(client: &Client, text: &str) -> bool {
    count(client, &format!("select 1/0;\n{text}")).await == Err(SqlState::DIVISION_BY_ZERO)
}

#[tokio::test]
async fn the_transcripts_of_boundaries_are_right_to_the_server() {
    let client = support::connect(support::cluster().port(), "postgres").await;
    let cases: Vec<_> = include_str!("sql/boundaries.txt")
        .split("\n\n")
        .filter(|case| case.contains("=>"))
        .collect();
    assert!(cases.len() > 10);
    for case in cases {
        let (text, expected) = case.split_once("\n=> ").expect("a text and its statements");
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(is_syntactically_right(&client, &text).await, "{text}");
        let ours = analyze(text.as_bytes(), Dialect::default(), &Rules::default())
            .statements
            .len();
        assert_eq!(ours.to_string(), expected.trim(), "{text}");
    }
}

/// What literals are made of.
const LITERAL_PIECES: &[&str] = &[
    "'",
    "''",
    "\\",
    "\\\\",
    "\\'",
    "\\n",
    "\\101",
    "\\7",
    "\\400",
    "\\x41",
    "\\xe9",
    "\\xc3\\xa9",
    "\\xg",
    "\\u00e9",
    "\\u",
    "\\ud83d\\ude00",
    "\\ud83d",
    "\\U0001F600",
    "\\0041",
    "\\+00e9",
    "\\+01F600",
    "\\d83d\\de00",
    "!0041",
    "!!",
    "\\0000",
    "\\0",
    "é",
    "日本",
    "a",
    " ",
    "\n",
    "'\n'",
    "'\r '",
    "' -- it's\n '",
    "' '",
    "'/**/\n'",
    "$",
    "$$",
    "$a$",
    "\"",
    "--",
    "/*x*/",
];

const OPENINGS: &[(&str, &str)] = &[
    ("'", "'"),
    ("E'", "'"),
    ("e'", "'"),
    ("U&'", "'"),
    ("u&'", "' UESCAPE '!'"),
    ("U&'", "' uescape '\\'"),
    ("U&'", "' uescape 'a'"),
    ("$$", "$$"),
    ("$a$", "$a$"),
    ("\"", "\""),
    ("U&\"", "\""),
    ("U&\"", "\" UESCAPE '!'"),
    ("N'", "'"),
    ("B'", "'"),
];

#[tokio::test]
async fn a_literal_has_the_value_that_the_server_gives_it() {
    let client = support::connect(support::cluster().port(), "postgres").await;
    for (standard_conforming_strings, seeds) in [("on", 0..4_000), ("off", 4_000..6_000)] {
        client
            .batch_execute(&format!(
                "set standard_conforming_strings = {standard_conforming_strings}"
            ))
            .await
            .expect("SET");
        let dialect = Dialect {
            standard_conforming_strings: standard_conforming_strings == "on",
            ..Dialect::default()
        };
        let mut agreed = 0;
        for seed in seeds {
            let mut random = StdRng::seed_from_u64(seed);
            let (open, close) = OPENINGS[random.random_range(0..OPENINGS.len())];
            let inside: String = (0..random.random_range(1..5))
                .map(|_| pick(&mut random, LITERAL_PIECES))
                .collect();
            let text = format!("SET bemi.context = {open}{inside}{close}");
            let server = match client.simple_query(&text).await {
                Ok(_) => Some(current(&client).await),
                Err(_) => None,
            };
            let ours = match analyze(text.as_bytes(), dialect, &Rules::default())
                .statements
                .first()
            {
                Some(Statement {
                    kind:
                        Kind::Set {
                            value: SetValue::Value(value),
                            ..
                        },
                    ..
                }) => Some(value.clone()),
                _ => None,
            };
            assert_eq!(ours, server, "seed {seed}: {text}");
            agreed += usize::from(server.is_some());
        }
        assert!(agreed > 500, "only {agreed} literals were valid");
    }
}

async fn current(client: &Client) -> String {
    let row = client
        .query_one("SELECT current_setting('bemi.context')", &[])
        .await
        .expect("a setting");
    row.get(0)
}
