//! A statement without its data: what may be logged or stored where the values may not.
//!
//! Every string, number and bit string becomes `$n`, counted on from the highest `$n` that the text has, as
//! pg_stat_statements does. Unlike it this knows no tree: a number that is no value but a part of the syntax, as in
//! `varchar(10)` or `ORDER BY 1`, is replaced too, and TRUE, FALSE and NULL stay. Comments are dropped, those with
//! context among them, for they are data as well; where one stood there is a space.

use crate::sql::Dialect;
use crate::sql::cursor::Cursor;
use crate::sql::lexer::{Lexer, TokenKind};

/// The text with `$n` for every literal, without comments and without white space at its ends.
pub fn normalize(text: &[u8], dialect: Dialect) -> Vec<u8> {
    let mut number = Lexer::new(text, 0, dialect)
        .filter(|token| token.kind == TokenKind::Param)
        .filter_map(|token| {
            std::str::from_utf8(text.get(token.start + 1..token.end)?)
                .ok()?
                .parse()
                .ok()
        })
        .max()
        .unwrap_or(0_u32);
    let mut normal = Vec::with_capacity(text.len());
    let mut copied = 0;
    let mut cursor = Cursor::new(text, 0..text.len(), dialect);
    while let Some(token) = cursor.token() {
        copy_gap(text, copied, token.start, dialect, &mut normal);
        match token.kind {
            TokenKind::String(_) => {
                cursor.string();
            }
            _ => cursor.advance(),
        }
        copied = token.end;
        if matches!(
            token.kind,
            TokenKind::String(_) | TokenKind::Bits | TokenKind::Number
        ) {
            number = number.saturating_add(1);
            normal.extend_from_slice(format!("${number}").as_bytes());
        } else {
            normal.extend_from_slice(text.get(token.start..token.end).unwrap_or_default());
        }
    }
    normal
}

/// What stands between two tokens: white space as it is, or a space for what holds a comment, or the UESCAPE clause of
/// a literal.
fn copy_gap(text: &[u8], from: usize, to: usize, dialect: Dialect, normal: &mut Vec<u8>) {
    if normal.is_empty() {
        return;
    }
    let has_more = Lexer::new(text.get(..to).unwrap_or(text), from, dialect)
        .next()
        .is_some();
    if has_more {
        normal.push(b' ');
    } else {
        normal.extend_from_slice(text.get(from..to).unwrap_or_default());
    }
}
