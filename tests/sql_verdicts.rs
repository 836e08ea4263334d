//! Verdicts on SQL texts, read from the transcripts in `tests/sql`.
//!
//! A case is a text, up to a line `=>`, and one line per statement behind it. Lines that start with `#` are comments,
//! `@` sets the rules of the cases that follow: `@ marginalia`, `@ functions a, b.c`, `@ old strings`, `@ reset`.

use bemi::sql::{
    Analysis, Arg, Dialect, FunctionName, Kind, Rules, SetConfig, SetValue, Statement, analyze, normalize,
};

struct Case {
    line: usize,
    text: String,
    expected: Vec<String>,
    dialect: Dialect,
    rules: Rules,
}

fn cases(transcript: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let (mut dialect, mut rules) = (Dialect::default(), Rules::default());
    let mut text: Vec<&str> = Vec::new();
    for (number, line) in transcript.lines().enumerate() {
        if line.starts_with('#') {
            continue;
        } else if let Some(directive) = line.strip_prefix("@ ") {
            direct(directive, &mut dialect, &mut rules);
        } else if let Some(verdict) = line.strip_prefix("=>") {
            if !text.is_empty() {
                let text = std::mem::take(&mut text).join("\n");
                cases.push(Case {
                    line: number,
                    text,
                    expected: Vec::new(),
                    dialect,
                    rules: rules.clone(),
                });
            }
            let case = cases.last_mut().expect("a text before the verdict");
            case.expected
                .extend(Some(verdict.trim().to_owned()).filter(|verdict| !verdict.is_empty()));
        } else if !line.is_empty() || !text.is_empty() {
            text.push(line);
        }
    }
    cases
}

fn direct(directive: &str, dialect: &mut Dialect, rules: &mut Rules) {
    match directive.split_once(' ').unwrap_or((directive, "")) {
        ("reset", _) => (*dialect, *rules) = (Dialect::default(), Rules::default()),
        ("marginalia", _) => rules.marginalia = true,
        ("affix", affix) => rules.affix = affix.to_owned(),
        ("max", bytes) => rules.max_context_bytes = bytes.parse().expect("a number"),
        ("old", "strings") => dialect.standard_conforming_strings = false,
        ("functions", names) => {
            let function = |name: &str| match name.split_once('.') {
                Some((schema, name)) => FunctionName {
                    schema: Some(schema.to_owned()),
                    name: name.to_owned(),
                },
                None => FunctionName {
                    schema: None,
                    name: name.to_owned(),
                },
            };
            rules.functions = names.split(", ").map(function).collect();
        }
        other => panic!("no such directive: {other:?}"),
    }
}

fn told(statement: &Statement) -> String {
    let mut told = match &statement.kind {
        Kind::Prepare { name, inner } => format!("Prepare {name} ({})", self::told(inner)),
        Kind::Set {
            local,
            value: SetValue::Value(value),
        } => format!("Set {{ local: {local}, value: {value:?} }}"),
        kind => format!("{kind:?}"),
    };
    for target in &statement.targets {
        let schema = target
            .schema
            .as_ref()
            .map(|schema| format!("{schema}."))
            .unwrap_or_default();
        told += &format!(" {schema}{}", target.name);
    }
    if let Some(context) = &statement.context {
        told += &format!(" {}", serde_json::to_string(context).expect("a JSON object"));
    }
    for problem in &statement.problems {
        told += &format!(" ! {problem}");
    }
    if let Some(SetConfig {
        name,
        value,
        is_local,
        exactly_once,
    }) = &statement.set_config
    {
        let [name, value, is_local] = [name, value, is_local].map(arg);
        told += &format!(" set_config({name}, {value}, {is_local})");
        told += if *exactly_once { " once" } else { "" };
    }
    told
}

fn arg(arg: &Arg) -> String {
    match arg {
        Arg::Literal(text) => format!("{text:?}"),
        Arg::Null => "null".to_owned(),
        Arg::Param(number) => format!("${number}"),
        Arg::Expression => "?".to_owned(),
    }
}

fn check(transcript: &str, name: &str) {
    let cases = cases(transcript);
    assert!(cases.len() > 10, "{name} was not read");
    let mut wrong = Vec::new();
    for case in cases {
        let Analysis { statements, .. } = analyze(case.text.as_bytes(), case.dialect, &case.rules);
        let told: Vec<_> = statements.iter().map(told).collect();
        if told != case.expected {
            wrong.push(format!(
                "{name}:{}: {}\n  told     {told:?}\n  expected {:?}",
                case.line, case.text, case.expected
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn kinds_and_targets_are_as_written_down() {
    check(include_str!("sql/kinds.txt"), "kinds.txt");
}

#[test]
fn settings_are_as_written_down() {
    check(include_str!("sql/settings.txt"), "settings.txt");
}

#[test]
fn comments_are_as_written_down() {
    check(include_str!("sql/comments.txt"), "comments.txt");
}

#[test]
fn a_body_is_the_statement_without_white_space_around() {
    let text = " \n select 1 /* x */ ; /*y*/ select 2 \n;  select 3;";
    let analysis = analyze(text.as_bytes(), Dialect::default(), &Rules::default());
    let bodies: Vec<_> = analysis
        .statements
        .iter()
        .map(|statement| &text[statement.body.clone()])
        .collect();
    assert_eq!(bodies, ["select 1 /* x */", "/*y*/ select 2", "select 3"]);
    let ranges: Vec<_> = analysis
        .statements
        .iter()
        .map(|statement| &text[statement.range.clone()])
        .collect();
    assert_eq!(
        ranges,
        [" \n select 1 /* x */ ", " /*y*/ select 2 \n", "  select 3"]
    );
}

#[test]
fn the_statement_of_a_prepare_is_a_part_of_the_text() {
    let text = "select 1; prepare p (int) as  insert into t values ($1) ;";
    let analysis = analyze(text.as_bytes(), Dialect::default(), &Rules::default());
    let Kind::Prepare { inner, .. } = &analysis.statements[1].kind else {
        panic!("no PREPARE: {analysis:?}");
    };
    assert_eq!(&text[inner.body.clone()], "insert into t values ($1)");
}

#[test]
fn a_normalized_text_holds_no_data() {
    for (text, expected) in [
        (
            "insert into t values (1, 'a', E'b\\'', $$c$$, B'01', x'ff', -1.5e3)",
            "insert into t values ($1, $2, $3, $4, $5, $6, -$7)",
        ),
        (
            "update t set a = $2 where b = 'x' and c = 3",
            "update t set a = $2 where b = $3 and c = $4",
        ),
        (
            "/* lead */ select 1 /*Bemi {\"a\":1} Bemi*/, 2 -- tail",
            "select $1 , $2",
        ),
        (
            "select a/**/from  t\n where b='x'/*y*/",
            "select a from  t\n where b=$1",
        ),
        (
            "select U&'d!0061' UESCAPE '!', 'a'\n 'b', \"c\"",
            "select $1 , $2, \"c\"",
        ),
        (
            "select N'x', true, null, interval '1 day'",
            "select N$1, true, null, interval $2",
        ),
        ("select 'open", "select $1"),
        ("", ""),
    ] {
        let normal = normalize(text.as_bytes(), Dialect::default());
        assert_eq!(std::str::from_utf8(&normal), Ok(expected), "{text}");
    }
}
