//! Which queries write, and what: INSERT, UPDATE, DELETE, MERGE, SELECT INTO, and WITH that holds one of them.
//!
//! A statement that changes data may stand at the top level and in a WITH of the top level, nowhere else (the server
//! refuses the rest), so one walk over the token stream finds them all; no tree is needed.

use crate::sql::cursor::Cursor;
use crate::sql::keywords::RESERVED;
use crate::sql::split::Mentions;
use crate::sql::{Rules, TableName};

/// What a query does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Whether it changes data.
    pub writes: bool,
    /// The tables that it names for that.
    pub targets: Vec<TableName>,
}

/// The verdict on a SELECT, VALUES, TABLE, INSERT, UPDATE, DELETE or MERGE, with or without WITH and parentheses
/// around; None if it is something else.
pub fn query(mut cursor: Cursor<'_>, mentions: Mentions, rules: &Rules) -> Option<Query> {
    let start = cursor;
    let mut query = Query::default();
    while cursor.eat_punct(b'(') {}
    if cursor.eat("with") {
        with(&mut cursor, Some(&mut query))?;
        while cursor.eat_punct(b'(') {}
    }
    if !change(&mut cursor, &mut query) {
        if !cursor.at_one_of(&["select", "values", "table"]) {
            return None;
        }
        if mentions.into && cursor.at("select") {
            select_into(cursor, &mut query);
        }
    }
    query.writes = query.writes || (mentions.function && names_function(start, rules));
    Some(query)
}

/// Whether a call of one of the functions that write follows. A rule with a schema also means the bare name, as
/// search_path may lead there.
pub fn names_function(mut cursor: Cursor<'_>, rules: &Rules) -> bool {
    while !cursor.at_end() {
        if !cursor.at_name() {
            cursor.advance();
            continue;
        }
        let Some(called) = cursor.table() else {
            continue;
        };
        let is_named = cursor.at_punct(b'(')
            && rules.functions.iter().any(|function| {
                let schemas_agree = match (&function.schema, &called.schema) {
                    (Some(wanted), Some(schema)) => wanted == schema,
                    _ => true,
                };
                schemas_agree && function.name == called.name
            });
        if is_named {
            return true;
        }
    }
    false
}

/// INSERT, UPDATE, DELETE or MERGE, if one is here.
fn change(cursor: &mut Cursor<'_>, query: &mut Query) -> bool {
    match () {
        () if cursor.eat("insert") || cursor.eat("merge") => cursor.eat("into"),
        () if cursor.eat("delete") => cursor.eat("from"),
        () if cursor.eat("update") => true,
        () => return false,
    };
    query.writes = true;
    query.targets.extend(relation(cursor));
    true
}

/// `[ONLY] name [*]` or `ONLY (name)`.
pub fn relation(cursor: &mut Cursor<'_>) -> Option<TableName> {
    let parenthesis = cursor.eat("only") && cursor.eat_punct(b'(');
    let table = cursor.table();
    if parenthesis {
        cursor.eat_punct(b')');
    }
    cursor.eat_punct(b'*');
    table
}

/// The list behind WITH, from which the changes go into the query; without one nothing is looked for in it. None if
/// it makes no sense.
fn with(cursor: &mut Cursor<'_>, mut query: Option<&mut Query>) -> Option<()> {
    // Not a reserved word: `WITH recursive AS (..)` names one.
    let is_name = cursor.next().at("as") || cursor.next().at_punct(b'(');
    if !is_name {
        cursor.eat("recursive");
    }
    loop {
        cursor.name()?;
        cursor.skip_group();
        if !cursor.eat("as") {
            return None;
        }
        cursor.eat("not");
        cursor.eat("materialized");
        if !cursor.at_punct(b'(') {
            return None;
        }
        if let Some(query) = &mut query {
            with_body(cursor.next(), query);
        }
        cursor.skip_group();
        past_search_and_cycle(cursor);
        if !cursor.eat_punct(b',') {
            return Some(());
        }
    }
}

/// What stands behind AS. It may have a WITH of its own, which cannot change data.
fn with_body(mut cursor: Cursor<'_>, query: &mut Query) {
    if !cursor.eat("with") || with(&mut cursor, None).is_some() {
        change(&mut cursor, query);
    }
}

/// `SEARCH DEPTH FIRST BY a, b SET c` and `CYCLE a, b SET c [TO d DEFAULT e] USING f`
fn past_search_and_cycle(cursor: &mut Cursor<'_>) {
    for (clause, last) in [("search", "set"), ("cycle", "using")] {
        if cursor.eat(clause) {
            while !cursor.at_end() && !cursor.eat(last) {
                cursor.advance();
            }
            cursor.advance();
        }
    }
}

/// What may stand between INTO and the name of the table. But for TABLE the words are not reserved: in
/// `INTO temp FROM t` the first is the name.
fn past_persistence(cursor: &mut Cursor<'_>) {
    for words in [&["local", "global"][..], &["temp", "temporary", "unlogged"]] {
        let behind = cursor.next();
        if behind.at("table") || (behind.at_name() && !behind.at_one_of(RESERVED)) {
            cursor.eat_one_of(words);
        }
    }
    cursor.eat("table");
}

/// The INTO of a SELECT, if it has one at the level of its own keywords, where it may also close parentheses that
/// opened before it. `a.into` and `AS into` are names.
fn select_into(mut cursor: Cursor<'_>, query: &mut Query) {
    let mut depth = 0_isize;
    let mut is_name = false;
    while !cursor.at_end() {
        if cursor.at_punct(b'(') {
            depth += 1;
        } else if cursor.at_punct(b')') {
            depth -= 1;
        } else if depth <= 0 && !is_name && cursor.eat("into") {
            past_persistence(&mut cursor);
            query.writes = true;
            query.targets.extend(cursor.table());
            return;
        }
        is_name = cursor.at_punct(b'.') || cursor.at("as");
        cursor.advance();
    }
}
