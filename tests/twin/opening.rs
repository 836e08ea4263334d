//! How a connection begins.

use super::dice::Dice;
use super::session::Opening;

const V3_0: i32 = 3 << 16;

/// Of every context.
const CONTEXT: &str = r#"-c bemi.context={"suite":"x"}"#;

/// A login like any other, with a context.
pub fn plain() -> Opening {
    let parameters = [
        ("user", "postgres"),
        ("database", "{database}"),
        ("options", CONTEXT),
    ];
    Opening {
        requests: Vec::new(),
        version: V3_0,
        parameters: owned(&parameters),
        waits: true,
        labels: vec!["startup: plain"],
    }
}

/// The opening of a walsender, which takes commands of its own.
pub fn replication(dice: &mut Dice) -> Opening {
    let value = dice.pick(&["database", "database", "true"]);
    with(
        &[
            ("user", "postgres"),
            ("database", "{database}"),
            ("replication", value),
        ],
        "startup: replication",
    )
}

/// Any opening.
pub fn any(dice: &mut Dice) -> Opening {
    let mut opening = match dice.below(100) {
        0..60 => plain(),
        60..80 => settings(dice),
        80..90 => versions(dice),
        90..96 => refused(dice),
        _ => without_context(dice),
    };
    if dice.chance(12) {
        let requests: &[&[i32]] = &[&[80_877_103], &[80_877_104], &[80_877_104, 80_877_103]];
        opening.requests = dice.pick(requests).to_vec();
        opening.labels.push("startup: asks for encryption");
    }
    if dice.chance(15) {
        opening.waits = false;
        opening.labels.push("startup: sends ahead of ReadyForQuery");
    }
    opening
}

fn settings(dice: &mut Dice) -> Opening {
    let (name, value) = dice.pick(&[
        ("client_encoding", "LATIN1"),
        ("client_encoding", "SJIS"),
        ("client_encoding", "GBK"),
        ("client_encoding", "SQL_ASCII"),
        ("standard_conforming_strings", "off"),
        ("DateStyle", "German, DMY"),
        ("TimeZone", "Asia/Tokyo"),
        ("IntervalStyle", "iso_8601"),
        ("application_name", "zwölf"),
        ("extra_float_digits", "-3"),
        ("search_path", "public, pg_catalog"),
        ("bemi.context", r#"{"suite":"x","from":"parameter"}"#),
        ("default_transaction_read_only", "on"),
        ("default_transaction_isolation", "serializable"),
        ("statement_timeout", "0"),
        ("USER", "upper"),
    ]);
    let options = dice.pick(&[
        CONTEXT,
        r#"-c bemi.context={"suite":"x"} --work-mem=1MB"#,
        r#"  -cbemi.context={"suite":"x"}  -c DateStyle=ISO\ ,\ DMY "#,
        r#"--bemi.context={"suite":"x"}"#,
    ]);
    let last = if dice.chance(5) {
        ("database", "{database}")
    } else {
        ("options", options)
    };
    with(
        &[
            ("user", "postgres"),
            ("database", "{database}"),
            (name, value),
            last,
        ],
        "startup: settings",
    )
}

fn versions(dice: &mut Dice) -> Opening {
    let mut opening = plain();
    opening.version = dice.pick(&[V3_0 + 1, V3_0 + 2, V3_0 + 2, V3_0 + 9999]);
    if dice.chance(60) {
        opening.version = dice.pick(&[V3_0, V3_0, V3_0 + 2]);
        opening.parameters.push(("_pq_.unheard_of".into(), "on".into()));
        if dice.chance(50) {
            opening.parameters.push(("_pq_.nor_this".into(), String::new()));
        }
    }
    opening.labels = vec!["startup: other minor versions and _pq_ options"];
    opening
}

/// What does not become a session.
fn refused(dice: &mut Dice) -> Opening {
    let mut opening = plain();
    opening.labels = vec!["startup: refused"];
    let mut set = |name: &str, value: &str| {
        opening.parameters.retain(|(other, _)| other != name);
        opening.parameters.push((name.to_owned(), value.to_owned()));
    };
    match dice.below(11) {
        0 => set("database", "no_such_database"),
        1 => set("user", "no_such_user"),
        2 => set("no_such_setting", "1"),
        3 => set("client_encoding", "KLINGON"),
        4 => set("DateStyle", "nonsense"),
        5 => set("options", "-c no_such_setting=1"),
        6 => set("options", "--nonsense"),
        7 => set("user", ""),
        8 => opening.parameters.retain(|(name, _)| name != "user"),
        9 => opening.version = 4 << 16,
        _ => opening.version = 2 << 16,
    }
    opening
}

fn without_context(dice: &mut Dice) -> Opening {
    let both = [
        ("user", "postgres"),
        ("database", "{database}"),
        ("bemi.context", "{}"),
    ];
    with(&both[..dice.pick(&[2, 3])], "startup: without a context")
}

fn with(parameters: &[(&str, &str)], label: &'static str) -> Opening {
    Opening {
        parameters: owned(parameters),
        labels: vec![label],
        ..plain()
    }
}

fn owned(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    parameters.iter().map(pair).collect()
}
