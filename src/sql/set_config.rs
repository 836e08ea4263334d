//! Calls of `set_config` that touch, or may touch, `bemi.context`.
//!
//! The usual call is `SELECT set_config('bemi.context', $1, false)`: literals and parameters, read from the tokens.
//! Where an argument is more than that, sqlparser tells whether it is a literal in the dress of casts and
//! parentheses; where it cannot parse it, the argument is an expression.
//!
//! Rejected: parsing the whole statement. All that must be known besides the arguments is whether the call runs exactly
//! once, and the tokens of a plain SELECT say so.

use sqlparser::ast::{DataType, Expr, Value};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::sql::cursor::Cursor;
use crate::sql::kind::explains_by_running;
use crate::sql::lexer::TokenKind;
use crate::sql::{Arg, SetConfig, VARIABLE};

/// Arguments longer than this, in bytes, are not parsed but taken for expressions.
const MAX_PARSED: usize = 16 * 1024;

/// How many tokens of arguments are read in a statement. Calls may stand in the arguments of calls, each to be read
/// anew; without a bound that takes a time that grows with the square of the statement.
const MAX_TOKENS: usize = 10_000;

/// How deep an argument may be nested to be parsed.
const MAX_DEPTH: usize = 32;

/// The keywords behind a select list, after which a call may run any number of times, or not at all.
const CLAUSES: &[&str] = &[
    "all",
    "distinct",
    "into",
    "from",
    "where",
    "group",
    "having",
    "window",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
    "union",
    "intersect",
    "except",
];

/// What the statement may do to the variable by calls of `set_config`.
pub fn set_config(start: Cursor<'_>) -> Option<SetConfig> {
    let mut cursor = start;
    if !runs(&mut cursor) {
        return None;
    }
    let mut calls = Vec::new();
    let mut tokens_left = MAX_TOKENS;
    while !cursor.at_end() {
        let at = cursor.token().map(|token| token.start)?;
        if !is_call_of(&mut cursor, &["set_config"]) {
            continue;
        }
        let arguments = arguments(cursor, &mut tokens_left);
        if tokens_left == 0 {
            return Some(unknown());
        }
        calls.extend(
            arguments
                .filter(|[name, ..]| may_touch(name))
                .map(|arguments| (at, arguments)),
        );
    }
    let (at, [name, value, is_local]) = calls.first()?.clone();
    if calls.len() == 1 {
        return Some(SetConfig {
            name,
            value,
            is_local,
            exactly_once: runs_exactly_once(start, at),
        });
    }
    let agree = |index: usize| {
        let mut of_calls = calls.iter().map(|(_, arguments)| arguments.get(index));
        let first = of_calls.next().flatten();
        of_calls.all(|argument| argument == first)
    };
    let is_literal = matches!(is_local, Arg::Literal(_));
    Some(SetConfig {
        name: if agree(0) { name } else { Arg::Expression },
        is_local: if agree(2) && is_literal {
            is_local
        } else {
            Arg::Expression
        },
        ..unknown()
    })
}

/// Anything may happen.
fn unknown() -> SetConfig {
    SetConfig {
        name: Arg::Expression,
        value: Arg::Expression,
        is_local: Arg::Expression,
        exactly_once: false,
    }
}

/// Moves to what the statement runs; false if it runs nothing of what it says.
fn runs(cursor: &mut Cursor<'_>) -> bool {
    if cursor.eat("explain") {
        return explains_by_running(cursor);
    }
    if cursor.eat("create") {
        cursor.eat_one_of(&["local", "global"]);
        cursor.eat_one_of(&["temp", "temporary", "unlogged"]);
        return cursor.at_one_of(&["table", "materialized"]);
    }
    !cursor.at("prepare")
}

/// Moves past a name, or whatever is here; whether it is one of these functions of the server, about to be called.
fn is_call_of(cursor: &mut Cursor<'_>, functions: &[&str]) -> bool {
    if !cursor.at_name() {
        cursor.advance();
        return false;
    }
    let called = cursor.table();
    cursor.at_punct(b'(')
        && called.is_some_and(|called| {
            functions.contains(&called.name.as_str())
                && called.schema.is_none_or(|schema| schema == "pg_catalog")
        })
}

fn may_touch(name: &Arg) -> bool {
    match name {
        Arg::Literal(name) => name == VARIABLE,
        Arg::Null => false,
        Arg::Param(_) | Arg::Expression => true,
    }
}

/// The arguments of a call, from its parenthesis on. None if they are not three.
fn arguments(mut cursor: Cursor<'_>, tokens_left: &mut usize) -> Option<[Arg; 3]> {
    cursor.advance();
    let name = match argument(&mut cursor, tokens_left) {
        Arg::Literal(name) => Arg::Literal(name.to_ascii_lowercase()),
        other => other,
    };
    let value = cursor
        .eat_punct(b',')
        .then(|| argument(&mut cursor, tokens_left))?;
    let is_local = cursor
        .eat_punct(b',')
        .then(|| argument(&mut cursor, tokens_left))?;
    let is_local = match is_local {
        Arg::Literal(text) => boolean(&text).map_or(Arg::Expression, |truth| Arg::Literal(truth.to_string())),
        // The function is not strict: see set_config_by_name in guc_funcs.c.
        Arg::Null => Arg::Literal(false.to_string()),
        other => other,
    };
    cursor.at_punct(b')').then_some([name, value, is_local])
}

/// What the server takes for a boolean: `parse_bool_with_len` of bool.c.
fn boolean(text: &str) -> Option<bool> {
    let text = text.trim_ascii().to_ascii_lowercase();
    let starts = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    match () {
        () if starts("true", 1) || starts("yes", 1) || text == "on" || text == "1" => Some(true),
        () if starts("false", 1) || starts("no", 1) || starts("off", 2) || text == "0" => Some(false),
        () => None,
    }
}

/// Moves past an argument, up to the comma or parenthesis behind it.
fn argument(cursor: &mut Cursor<'_>, tokens_left: &mut usize) -> Arg {
    let start = *cursor;
    let plain = plain_argument(cursor);
    if let Some(plain) = plain.filter(|_| cursor.at_punct(b',') || cursor.at_punct(b')')) {
        *tokens_left = tokens_left.saturating_sub(1);
        return plain;
    }
    *cursor = start;
    let mut depth = 0_usize;
    while !cursor.at_end() && *tokens_left > 0 {
        let closes = cursor.at_punct(b')') || cursor.at_punct(b']');
        if depth == 0 && (closes || cursor.at_punct(b',')) {
            break;
        }
        if cursor.at_punct(b'(') || cursor.at_punct(b'[') {
            depth += 1;
        } else if closes {
            depth -= 1;
        }
        *tokens_left -= 1;
        cursor.advance();
    }
    let range = start
        .token()
        .map(|token| token.start)
        .zip(cursor.token().map(|token| token.start));
    let (text, dialect) = start.source();
    match range.and_then(|(from, to)| text.get(from..to)) {
        Some(written) if dialect.standard_conforming_strings => dressed_argument(written),
        _ => Arg::Expression,
    }
}

/// A literal or a parameter, maybe with a cast that does not change it.
fn plain_argument(cursor: &mut Cursor<'_>) -> Option<Arg> {
    let arg = if cursor.at_string() {
        Arg::Literal(cursor.string()?)
    } else {
        let arg = match cursor.token()?.kind {
            TokenKind::Param => parameter(cursor.bytes())?,
            TokenKind::Word if cursor.at("null") => Arg::Null,
            TokenKind::Word if cursor.at_one_of(&["true", "false"]) => {
                Arg::Literal(cursor.at("true").to_string())
            }
            _ => return None,
        };
        cursor.advance();
        arg
    };
    while cursor.token()?.kind == TokenKind::Operator && cursor.bytes() == b"::" {
        cursor.advance();
        if !cursor.eat_one_of(&["text", "varchar", "json", "boolean", "bool"]) {
            return None;
        }
    }
    Some(arg)
}

fn parameter(token: &[u8]) -> Option<Arg> {
    let number = std::str::from_utf8(token).ok()?.strip_prefix('$')?.parse().ok()?;
    Some(Arg::Param(number))
}

/// A literal or a parameter in parentheses, in CAST(.. AS text), behind the name of its type.
fn dressed_argument(written: &[u8]) -> Arg {
    let Some(text) = std::str::from_utf8(written)
        .ok()
        .filter(|text| text.len() <= MAX_PARSED)
    else {
        return Arg::Expression;
    };
    let parser = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(MAX_DEPTH)
        .try_with_sql(text);
    let Ok(mut parser) = parser else {
        return Arg::Expression;
    };
    match parser.parse_expr() {
        Ok(expression) if parser.peek_token() == sqlparser::tokenizer::Token::EOF => undressed(expression),
        _ => Arg::Expression,
    }
}

fn undressed(mut expression: Expr) -> Arg {
    let keeps_text = |cast_to: &DataType| {
        matches!(
            cast_to,
            DataType::Text | DataType::Varchar(None) | DataType::JSON | DataType::Bool | DataType::Boolean
        )
    };
    let value = loop {
        expression = match expression {
            Expr::Nested(inner) => *inner,
            Expr::Cast { expr, data_type, .. } if keeps_text(&data_type) => *expr,
            Expr::TypedString(typed) if keeps_text(&typed.data_type) => break typed.value.value,
            Expr::Value(value) => break value.value,
            _ => return Arg::Expression,
        };
    };
    match value {
        Value::SingleQuotedString(text) => Arg::Literal(text),
        Value::Placeholder(name) => parameter(name.as_bytes()).unwrap_or(Arg::Expression),
        Value::Null => Arg::Null,
        Value::Boolean(truth) => Arg::Literal(truth.to_string()),
        _ => Arg::Expression,
    }
}

/// Whether the call at this byte runs once, and is what it stands for: the statement is a SELECT of nothing but a list,
/// the call is an item of it, and no other item could make it run twice, as a function might that returns a set.
fn runs_exactly_once(mut cursor: Cursor<'_>, call: usize) -> bool {
    if !cursor.eat("select") {
        return false;
    }
    let mut found = false;
    loop {
        found |= cursor.token().is_some_and(|token| token.start == call);
        if past_item(&mut cursor).is_none() {
            return false;
        }
        if cursor.at_end() {
            return found;
        }
        if !cursor.eat_punct(b',') {
            return false;
        }
    }
}

/// Moves past an item of a select list. None if it might return a set, or is the last of a SELECT with more clauses.
fn past_item(cursor: &mut Cursor<'_>) -> Option<()> {
    let mut behind = *cursor;
    if !is_call_of(&mut behind, &["set_config", "current_setting"]) {
        return past_simple_item(cursor);
    }
    behind.skip_group();
    if behind.eat("as") {
        behind.name()?;
    } else if behind.at_name() && !behind.at_one_of(CLAUSES) {
        behind.advance();
    }
    *cursor = behind;
    Some(())
}

/// Moves past an item without parentheses or brackets. None if it is not alone in its SELECT.
fn past_simple_item(cursor: &mut Cursor<'_>) -> Option<()> {
    let mut is_name = false;
    while !cursor.at_end() && !cursor.at_punct(b',') {
        let is_clause = !is_name && cursor.at_one_of(CLAUSES);
        if is_clause || cursor.at_punct(b'(') || cursor.at_punct(b'[') {
            return None;
        }
        is_name = cursor.at_punct(b'.') || cursor.at("as");
        cursor.advance();
    }
    Some(())
}
