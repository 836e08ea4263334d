//! SET, RESET and DISCARD, as far as they touch `bemi.context`.

use crate::sql::cursor::Cursor;
use crate::sql::keywords::RESERVED;
use crate::sql::lexer::TokenKind;
use crate::sql::{Kind, SetValue, VARIABLE};

/// SET or RESET of `bemi.context`, RESET ALL, DISCARD ALL; None if it is something else.
pub fn setting(mut cursor: Cursor<'_>) -> Option<Kind> {
    if cursor.eat("set") {
        return set(cursor);
    }
    if cursor.eat("reset") {
        if cursor.eat("all") {
            return cursor.at_end().then_some(Kind::ResetAll);
        }
        let is_ours = is_variable(&mut cursor) && cursor.at_end();
        return is_ours.then_some(Kind::Set {
            local: false,
            value: SetValue::Default,
        });
    }
    (cursor.eat("discard") && cursor.eat("all") && cursor.at_end()).then_some(Kind::DiscardAll)
}

fn set(mut cursor: Cursor<'_>) -> Option<Kind> {
    let local = cursor.at("local") && cursor.next().at_name();
    if local || (cursor.at("session") && cursor.next().at_name()) {
        cursor.advance();
    }
    if !is_variable(&mut cursor) {
        return None;
    }
    if cursor.eat("from") {
        let current = cursor.eat("current") && cursor.at_end();
        return current.then_some(Kind::Set {
            local,
            value: SetValue::Current,
        });
    }
    if !cursor.eat("to") && !cursor.eat_punct(b'=') {
        return None;
    }
    let value = value(&mut cursor)?;
    cursor.at_end().then_some(Kind::Set { local, value })
}

/// Moves past a name with dots; whether it is that of the variable. `"bemi.context"` is one too.
fn is_variable(cursor: &mut Cursor<'_>) -> bool {
    let Some(mut name) = cursor.name() else {
        return false;
    };
    while cursor.eat_punct(b'.') {
        let Some(part) = cursor.name() else {
            return false;
        };
        name = name + "." + &part;
    }
    name.eq_ignore_ascii_case(VARIABLE)
}

/// One value, as text (`flatten_set_variable_args` of guc.c). Several are an error of the server.
fn value(cursor: &mut Cursor<'_>) -> Option<SetValue> {
    if cursor.eat("default") {
        return Some(SetValue::Default);
    }
    if cursor.at_string() {
        return cursor.string().map(SetValue::Value);
    }
    if cursor.at_name() {
        // TRUE, FALSE and ON are reserved, and values all the same.
        let is_reserved = cursor.at_one_of(RESERVED) && !cursor.at_one_of(&["true", "false", "on"]);
        return (!is_reserved)
            .then(|| cursor.name())
            .flatten()
            .map(SetValue::Value);
    }
    let negative = cursor.eat_punct(b'-');
    if !negative {
        cursor.eat_punct(b'+');
    }
    if cursor.token()?.kind != TokenKind::Number {
        return None;
    }
    let number = number(std::str::from_utf8(cursor.bytes()).ok()?);
    cursor.advance();
    Some(SetValue::Value(if negative {
        format!("-{number}")
    } else {
        number
    }))
}

/// What the server prints for a number: integers of 32 bits in decimal, others as they are written.
fn number(written: &str) -> String {
    let digits = written.replace('_', "");
    let parsed = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => i32::from_str_radix(digits.get(2..).unwrap_or_default(), 16),
        Some("0o") => i32::from_str_radix(digits.get(2..).unwrap_or_default(), 8),
        Some("0b") => i32::from_str_radix(digits.get(2..).unwrap_or_default(), 2),
        _ => digits.parse(),
    };
    parsed.map_or(written.to_owned(), |integer| integer.to_string())
}
