//! What a statement does, told by its first words.

use crate::sql::cursor::Cursor;
use crate::sql::query::{names_function, query, relation};
use crate::sql::setting::setting;
use crate::sql::split::Mentions;
use crate::sql::transaction::transaction;
use crate::sql::{Kind, Rules, TableName};

/// A kind and the tables that are written.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Never [`Kind::Prepare`]: that one holds a statement of its own, see [`prepare`].
    pub kind: Kind,
    /// The tables it writes; empty when unknown.
    pub targets: Vec<TableName>,
}

impl Verdict {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            targets: Vec::new(),
        }
    }

    fn other() -> Self {
        Self::of(Kind::Other)
    }
}

/// `PREPARE name [(types)] AS statement`: the name, and the byte where the statement starts.
pub fn prepare(mut cursor: Cursor<'_>) -> Option<(String, usize)> {
    if !cursor.eat("prepare") {
        return None;
    }
    let name = cursor.name()?;
    cursor.skip_group();
    let start = cursor.token().filter(|_| cursor.at("as"))?.end;
    Some((name, start))
}

/// The verdict on what may be prepared: queries.
pub fn prepared(cursor: Cursor<'_>, mentions: Mentions, rules: &Rules) -> Verdict {
    match query(cursor, mentions, rules) {
        Some(query) if query.writes => Verdict {
            kind: Kind::Write,
            targets: query.targets,
        },
        _ => Verdict::other(),
    }
}

/// The verdict on any statement but PREPARE.
pub fn classify(mut cursor: Cursor<'_>, mentions: Mentions, rules: &Rules) -> Verdict {
    if let Some(kind) = transaction(cursor).or_else(|| setting(cursor)) {
        return Verdict::of(kind);
    }
    let start = cursor;
    if cursor.eat("explain") {
        return explain(cursor, mentions, rules);
    }
    if cursor.eat("copy") {
        return copy(cursor, mentions, rules);
    }
    if cursor.eat("truncate") {
        return Verdict {
            kind: Kind::Write,
            targets: truncate(cursor),
        };
    }
    if cursor.eat("create") {
        return create_table_as(cursor, mentions, rules);
    }
    if cursor.eat("execute") {
        return cursor.name().map_or(Verdict::other(), |name| {
            Verdict::of(Kind::Execute {
                name,
                writes_anyway: false,
            })
        });
    }
    if cursor.eat("deallocate") {
        return deallocate(cursor);
    }
    if cursor.eat("call") {
        let named = mentions.function && names_function(cursor, rules);
        return Verdict::of(if named { Kind::Write } else { Kind::BlockOnlyWrite });
    }
    if cursor.eat("do") {
        return Verdict::of(Kind::BlockOnlyWrite);
    }
    prepared(start, mentions, rules)
}

/// EXPLAIN runs what it explains only with ANALYZE.
fn explain(mut cursor: Cursor<'_>, mentions: Mentions, rules: &Rules) -> Verdict {
    if !explains_by_running(&mut cursor) {
        return Verdict::other();
    }
    let start = cursor;
    if cursor.eat("create") {
        return create_table_as(cursor, mentions, rules);
    }
    if cursor.eat("execute") {
        return classify(start, mentions, rules);
    }
    prepared(start, mentions, rules)
}

/// Moves from behind EXPLAIN to what it explains; whether that runs.
pub fn explains_by_running(cursor: &mut Cursor<'_>) -> bool {
    let is_query = cursor.at_punct(b'(') && {
        let inside = cursor.next();
        inside.at_punct(b'(') || inside.at_one_of(&["select", "with", "table", "values"])
    };
    if cursor.at_punct(b'(') && !is_query {
        let analyze = analyze_option(cursor.next());
        cursor.skip_group();
        return analyze;
    }
    let analyze = cursor.eat_one_of(&["analyze", "analyse"]);
    cursor.eat("verbose");
    analyze
}

/// The options of EXPLAIN: the last ANALYZE among them counts, unless it is false (`defGetBoolean` of define.c).
fn analyze_option(mut cursor: Cursor<'_>) -> bool {
    let mut analyze = false;
    loop {
        let is_analyze = cursor.eat_one_of(&["analyze", "analyse"]);
        if !is_analyze {
            cursor.advance();
        }
        let mut value = None;
        while !cursor.at_end() && !cursor.at_punct(b',') && !cursor.at_punct(b')') {
            let mut literal = cursor;
            value = Some(
                literal
                    .string()
                    .unwrap_or_else(|| String::from_utf8(cursor.bytes().to_vec()).unwrap_or_default()),
            );
            cursor.advance();
        }
        if is_analyze {
            let off = |value: String| {
                ["false", "off", "0"]
                    .iter()
                    .any(|off| value.eq_ignore_ascii_case(off))
            };
            analyze = !value.is_some_and(off);
        }
        if !cursor.eat_punct(b',') {
            return analyze;
        }
    }
}

/// COPY table FROM writes it; COPY (query) TO may hold a query that writes.
fn copy(mut cursor: Cursor<'_>, mentions: Mentions, rules: &Rules) -> Verdict {
    if cursor.at_punct(b'(') {
        return prepared(cursor, mentions, rules);
    }
    cursor.eat("binary");
    let table = cursor.table();
    cursor.skip_group();
    if !cursor.at("from") {
        return Verdict::other();
    }
    Verdict {
        kind: Kind::Write,
        targets: table.into_iter().collect(),
    }
}

fn truncate(mut cursor: Cursor<'_>) -> Vec<TableName> {
    cursor.eat("table");
    let mut targets = Vec::new();
    loop {
        targets.extend(relation(&mut cursor));
        if !cursor.eat_punct(b',') {
            return targets;
        }
    }
}

/// `CREATE [TEMP | UNLOGGED] TABLE name .. AS query`, from behind CREATE. In no other CREATE TABLE does AS stand
/// outside of parentheses. The query may change data in a WITH, as any other.
fn create_table_as(mut cursor: Cursor<'_>, mentions: Mentions, rules: &Rules) -> Verdict {
    cursor.eat_one_of(&["local", "global"]);
    cursor.eat_one_of(&["temp", "temporary", "unlogged"]);
    if !cursor.eat("table") {
        return Verdict::other();
    }
    if cursor.eat("if") {
        cursor.eat("not");
        cursor.eat("exists");
    }
    let mut targets: Vec<_> = cursor.table().into_iter().collect();
    while !cursor.at_end() {
        if cursor.at_punct(b'(') {
            cursor.skip_group();
            continue;
        }
        if cursor.eat("as") {
            targets.extend(
                query(cursor, mentions, rules)
                    .into_iter()
                    .flat_map(|query| query.targets),
            );
            let execute = cursor.eat("execute").then(|| cursor.name()).flatten();
            let kind = execute.map_or(Kind::Write, |name| Kind::Execute {
                name,
                writes_anyway: true,
            });
            return Verdict { kind, targets };
        }
        cursor.advance();
    }
    Verdict::other()
}

fn deallocate(mut cursor: Cursor<'_>) -> Verdict {
    if cursor.at("prepare") && cursor.next().at_name() {
        cursor.advance();
    }
    if cursor.at("all") {
        return Verdict::of(Kind::Deallocate { name: None });
    }
    cursor.name().map_or(Verdict::other(), |name| {
        Verdict::of(Kind::Deallocate { name: Some(name) })
    })
}
