//! SQL texts and what is read from them, contexts, encodings, the server's URL.

use bemi::config::SqlText;
use bemi::config::url::UpstreamUrl;
use bemi::context::{Context, payload, write_json_string};
use bemi::session::Verdict;
use bemi::sql::{Dialect, FunctionName, Kind, Rules, Statement, analyze, is_plain_select, normalize};
use bemi::wire::encoding::ClientEncoding;
use serde_json::Value;

use super::Target;
use super::input::Input;

const ENCODINGS: &[&str] = &[
    "UTF8",
    "SJIS",
    "BIG5",
    "GBK",
    "GB18030",
    "UHC",
    "JOHAB",
    "EUC_TW",
    "LATIN1",
    "SQL_ASCII",
];

fn dialect(input: &mut Input<'_>) -> Dialect {
    Dialect {
        standard_conforming_strings: input.byte() % 4 != 1,
        encoding: ClientEncoding::from_name(input.pick(ENCODINGS)).expect("a name of the table"),
    }
}

fn rules(input: &mut Input<'_>) -> Rules {
    let choice = input.byte();
    Rules {
        sqlcommenter: choice & 1 == 0,
        marginalia: choice & 2 != 0,
        functions: if choice & 4 == 0 {
            Vec::new()
        } else {
            vec![FunctionName {
                schema: (choice & 8 != 0).then(|| "audit".to_owned()),
                name: "f".to_owned(),
            }]
        },
        max_context_bytes: if choice & 16 == 0 { 1 << 20 } else { 8 },
        ..Rules::default()
    }
}

/// A SQL text: statements, kinds, targets, comments.
pub const SQL: Target = Target {
    name: "sql",
    run: sql,
    seeds: &[
        b"\0\0\0SELECT 1; INSERT INTO a.b VALUES ('x;'';', E'\\';', $$;$$, U&'\\0041') /*Bemi {\"a\":1} Bemi*/",
        b"\0\0\0WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x; COPY t FROM STDIN",
        b"\0\0\0CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END; SELECT 2",
        b"\0\0\0SELECT set_config('bemi.context', $1, false), set_config(name => 'x', value => 'y')",
        b"\0\0\0PREPARE p (int) AS UPDATE t SET a = $1; EXECUTE p(1); DEALLOCATE ALL; DISCARD ALL",
        b"\0\0\0SET LOCAL bemi.context TO '{\"a\":1}'; RESET ALL; SAVEPOINT \"s\"\"\"; ROLLBACK TO s; COMMIT AND CHAIN",
        b"\0\0\0EXPLAIN (ANALYZE, VERBOSE) MERGE INTO t USING u ON true WHEN MATCHED THEN DO NOTHING -- end",
    ],
};

fn sql(data: &[u8]) {
    let mut input = Input::new(data);
    let (dialect, rules) = (dialect(&mut input), rules(&mut input));
    let text = input.rest();
    let analysis = analyze(text, dialect, &rules);
    assert!(Verdict::new(text, dialect, &rules).is_plain() || !is_plain_select(text, dialect, &rules));
    let mut end = 0;
    for statement in &analysis.statements {
        assert!(
            statement.range.start >= end,
            "statements stand one behind the other"
        );
        end = statement.range.end;
        check_statement(statement, text);
    }
    let verdict = Verdict::new(text, dialect, &rules);
    for index in 0..verdict.statements().len() {
        for (mode, max) in [(SqlText::Full, 7), (SqlText::Off, 7)] {
            if let Some(shown) = verdict.sql(index, mode, max) {
                let shown: Value = serde_json::from_slice(shown).expect("a JSON string");
                assert!(shown.as_str().is_some_and(|shown| shown.len() <= max));
            }
        }
    }
}

fn check_statement(statement: &Statement, text: &[u8]) {
    assert!(statement.range.start <= statement.range.end && statement.range.end <= text.len());
    assert!(statement.range.start <= statement.body.start && statement.body.end <= statement.range.end);
    assert!(statement.body.start <= statement.body.end);
    if let Kind::Prepare { inner, .. } = &statement.kind {
        assert!(statement.range.start <= inner.range.start && inner.range.end <= statement.range.end);
        check_statement(inner, text);
    }
}

/// The inside of a comment, wherever one may stand.
pub const COMMENTS: Target = Target {
    name: "comments",
    run: comments,
    seeds: &[
        b"\0\0\0Bemi {\"a\":1} Bemi",
        b"\0\0\0a='b%20c',d='e\\'f'",
        b"\0\0\x02application:Shop,controller:todo",
        b"\0\0\0/* nested */ Bemi {\"a\":1} Bemi",
    ],
};

fn comments(data: &[u8]) {
    let mut input = Input::new(data);
    let (dialect, rules) = (dialect(&mut input), rules(&mut input));
    let inside = input.rest();
    let affixed = [b"Bemi ", inside, b" Bemi"].concat();
    for comment in [inside, &affixed] {
        let comment = [b"/*", comment, b"*/"].concat();
        for text in [
            [&comment, &b"INSERT INTO t VALUES (1)"[..]].concat(),
            [&b"INSERT INTO t VALUES (1)"[..], &comment].concat(),
            [&b"INSERT INTO t "[..], &comment, b" VALUES (1); ", &comment].concat(),
        ] {
            for statement in &analyze(&text, dialect, &rules).statements {
                if let Some(entries) = &statement.context {
                    assert!(!entries.is_empty(), "a context without keys is none");
                    check_context(&Context::new(entries.clone()));
                }
            }
        }
    }
}

/// What goes into the write-ahead log is JSON, ASCII, and says what was said.
fn check_context(context: &Context) {
    let written = payload::build(&[Some(context)], None);
    assert!(written.is_ascii());
    let read: Value = serde_json::from_slice(&written).expect("a JSON object");
    assert_eq!(read.as_object(), Some(context.entries()));
}

/// A statement without its data.
pub const NORMALIZE: Target = Target {
    name: "normalize",
    run: normalized,
    seeds: &[
        b"\0\0SELECT $2, 'a', E'b\\'', 1.5e3, X'ff' 'cd'\n'ef', $x$y$x$, \"q\" -- c\n/* d */ FROM t",
        b"\0\0SELECT U&'\\0041' UESCAPE '!', n'x', 0x1F, 1_000",
    ],
};

fn normalized(data: &[u8]) {
    let mut input = Input::new(data);
    let dialect = dialect(&mut input);
    let text = input.rest();
    _ = normalize(text, dialect);
    if has(text, SECRET) {
        return;
    }
    // Whatever stands behind a literal, its data is gone.
    for literal in [
        "'4815162342'",
        "E'4815162342'",
        "$a$4815162342$a$",
        "4815162342",
        "/*4815162342*/",
        "X'4815162342'",
    ] {
        let statement = [b"SELECT ", literal.as_bytes(), b" ", text].concat();
        let normal = normalize(&statement, dialect);
        assert!(
            !has(&normal, SECRET),
            "{} of {}",
            normal.escape_ascii(),
            statement.escape_ascii()
        );
    }
}

/// Data that no statement may show once it is normalized.
const SECRET: &str = "4815162342";

fn has(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|part| part == word.as_bytes())
}

/// A context as SET has it.
pub const CONTEXT: Target = Target {
    name: "context",
    run: context,
    seeds: &[br#"{"user_id":1,"a":[1.50,"\ud83d\ude00",null,true],"b":{"c":"'\\"}}"#],
};

fn context(data: &[u8]) {
    let text = ClientEncoding::default().decode(data);
    if let Ok(Some(context)) = Context::parse(&text, 1 << 16) {
        check_context(&context);
    }
    let mut quoted = Vec::new();
    write_json_string(&mut quoted, &text);
    assert!(quoted.is_ascii());
    let read: String = serde_json::from_slice(&quoted).expect("a JSON string");
    assert_eq!(read, text);
}

/// Bytes in a `client_encoding`.
pub const ENCODING: Target = Target {
    name: "encoding",
    run: encoding,
    seeds: &[b"\x01\x95\x5c'\xb1x", b"\x04\x81\x30\x81\x30\x81"],
};

fn encoding(data: &[u8]) {
    let mut input = Input::new(data);
    let encoding = ClientEncoding::from_name(input.pick(ENCODINGS)).expect("a name of the table");
    let bytes = input.rest();
    let decoded = encoding.decode(bytes);
    if encoding == ClientEncoding::Utf8 && decoded.contains('\u{fffd}') {
        let was_there = bytes
            .windows(3)
            .any(|character| character == "\u{fffd}".as_bytes());
        assert!(was_there, "a byte became a replacement character");
    }
    let mut rest = bytes;
    let mut count = 0;
    while !rest.is_empty() {
        let len = encoding.char_len(rest);
        assert!((1..=rest.len()).contains(&len));
        rest = &rest[len..];
        count += 1;
    }
    assert_eq!(encoding.count_chars(bytes), count);
}

/// `upstream.url`.
pub const UPSTREAM_URL: Target = Target {
    name: "upstream_url",
    run: upstream_url,
    seeds: &[
        b"postgresql://us%20er:hunter2@[::1]:5433,b/db?sslmode=verify-full&sslrootcert=./ca.crt",
        b"host=/run user='a b' password=hunter2 port=1 connect_timeout=3",
        b"postgres:///db?host=%2Frun&hostaddr=127.0.0.1",
    ],
};

/// A password that no other part of a URL has by accident.
const PASSWORD: &str = "hunter2";

fn upstream_url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let is_secret = text.matches(PASSWORD).count() == 1;
    match UpstreamUrl::parse(text) {
        Ok(url) => {
            let is_password = url
                .password
                .as_ref()
                .is_some_and(|word| word.reveal().contains(PASSWORD));
            if is_secret && is_password {
                assert!(
                    !format!("{url} {url:?}").contains(PASSWORD),
                    "a password in a log"
                );
            }
        }
        Err(error) => {
            // Where the text has the form of a URL with a password, no error may repeat it.
            let authority = text
                .split_once("://")
                .map(|(_, rest)| rest.split(['/', '?']).next());
            let has_userinfo = authority
                .flatten()
                .is_some_and(|authority| authority.contains(&format!(":{PASSWORD}@")));
            if is_secret && has_userinfo {
                assert!(
                    !format!("{error} {error:?}").contains(PASSWORD),
                    "a password in an error: {error}"
                );
            }
        }
    }
}
