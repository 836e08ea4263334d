//! Where the statements of a text begin and end.
//!
//! The server's grammar separates statements by `;` and makes nothing of what is empty. Two places hide a `;`:
//! parentheses (`CREATE RULE .. DO (a; b)`) and the body of a routine in SQL (`CREATE FUNCTION .. BEGIN ATOMIC a; b;
//! END`). In the latter each statement ends in `;`, so an END there that does not follow a `;` belongs to a CASE, or is a
//! label. The same walk notes which words of interest a statement holds, so that most need no second look.

use std::ops::Range;

use memchr::memchr_iter;

use crate::sql::lexer::{Lexer, Token, TokenKind};
use crate::sql::{Dialect, Rules, literal};

/// A statement, and what is worth a closer look in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Piece {
    /// From just behind the previous `;` to its own, or the end of the text.
    pub range: Range<usize>,
    /// The words of interest in it.
    pub mentions: Mentions,
}

/// The words of interest that a statement holds anywhere outside of literals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mentions {
    /// `set_config`
    pub set_config: bool,
    /// INTO
    pub into: bool,
    /// `/* .. */`
    pub comment: bool,
    /// The name of one of the functions that write.
    pub function: bool,
}

/// The statements of a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Split {
    /// All that make a parse tree.
    pub pieces: Vec<Piece>,
    /// What follows the `;` of the last of them: nothing but comments, white space and further `;`.
    pub tail: Range<usize>,
    /// Whether an identifier of the text starts with `pg_prepared_statement`.
    pub mentions_prepared_statements: bool,
    /// Whether a setting is named that decides how texts are read.
    pub mentions_dialect: bool,
}

/// Cuts a text into its statements.
pub fn split(text: &[u8], dialect: Dialect, rules: &Rules) -> Split {
    let mut split = Split::default();
    let mut piece = Piece::default();
    let mut nesting = Nesting::default();
    let mut empty = true;
    for token in Lexer::new(text, 0, dialect) {
        if token.is_comment() {
            piece.mentions.comment |= token.kind == TokenKind::BlockComment;
            continue;
        }
        let bytes = text.get(token.start..token.end).unwrap_or_default();
        if token.kind == TokenKind::Punct(b';') && nesting.is_outermost() {
            piece.range.end = token.start;
            if !std::mem::replace(&mut empty, true) {
                split.pieces.push(piece);
                split.tail.start = token.end;
            }
            piece = Piece {
                range: token.end..token.end,
                mentions: Mentions::default(),
            };
            nesting = Nesting::default();
            continue;
        }
        empty = false;
        nesting.see(token.kind, bytes);
        split.mentions_dialect |= names_dialect(token.kind, bytes);
        split.mentions_prepared_statements |= notice(&mut piece.mentions, token, bytes, dialect, rules);
    }
    if !empty {
        piece.range.end = text.len();
        split.pieces.push(piece);
        split.tail.start = text.len();
    }
    split.tail.end = text.len();
    split
}

/// Whether this names a setting of the [`Dialect`]: as a word, in quotes, or as an argument of `set_config`. `NAMES` is
/// short for `client_encoding` in `SET NAMES`.
pub fn names_dialect(kind: TokenKind, bytes: &[u8]) -> bool {
    /// With the place of its first underscore.
    const SETTINGS: [(&[u8], usize); 2] = [(b"client_encoding", 6), (b"standard_conforming_strings", 8)];
    let is_at = |underscore: usize, (setting, first): (&[u8], usize)| {
        underscore
            .checked_sub(first)
            .and_then(|start| bytes.get(start..start + setting.len()))
            .is_some_and(|part| part.eq_ignore_ascii_case(setting))
    };
    match kind {
        TokenKind::Punct(_) => false,
        TokenKind::Word if bytes.len() == 5 => bytes.eq_ignore_ascii_case(b"names"),
        // What is longer than the longest of them and its quotes is data.
        _ if !(SETTINGS[0].0.len()..=64).contains(&bytes.len()) => false,
        _ => memchr_iter(b'_', bytes).any(|at| SETTINGS.into_iter().any(|setting| is_at(at, setting))),
    }
}

/// Notes a word of interest; whether it is one about prepared statements.
pub fn notice(mentions: &mut Mentions, token: Token, bytes: &[u8], dialect: Dialect, rules: &Rules) -> bool {
    const PREPARED: &[u8] = b"pg_prepared_statement";
    match token.kind {
        TokenKind::Word => {
            let is = |word: &str| bytes.eq_ignore_ascii_case(word.as_bytes());
            mentions.into |= is("into");
            mentions.set_config |= is("set_config");
            mentions.function |= rules.functions.iter().any(|function| is(&function.name));
            bytes
                .get(..PREPARED.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(PREPARED))
        }
        // Neither of these names holds a quote, so what stands for them needs no decoding.
        TokenKind::QuotedName if rules.functions.is_empty() => {
            let inside = bytes
                .get(1..)
                .and_then(|rest| rest.strip_suffix(b"\""))
                .unwrap_or_default();
            mentions.set_config |= inside == b"set_config";
            inside
                .get(..PREPARED.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(PREPARED))
        }
        TokenKind::QuotedName | TokenKind::UnicodeName => {
            // With an escape character of its own the name may be anything.
            let name = literal::name(bytes, token.kind, literal::UNICODE_ESCAPE, dialect);
            let may_be = |word: &str| {
                token.kind == TokenKind::UnicodeName || name.as_deref().is_some_and(|name| name == word)
            };
            mentions.set_config |= may_be("set_config");
            mentions.function |= rules.functions.iter().any(|function| may_be(&function.name));
            name.is_some_and(|name| name.as_bytes().to_ascii_lowercase().starts_with(PREPARED))
        }
        _ => false,
    }
}

/// How far a statement is on its way to the body of a routine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Progress {
    #[default]
    Start,
    Create,
    CreateOr,
    CreateOrReplace,
    Routine,
    RoutineBegin,
    NoRoutine,
}

/// Whether a `;` is inside of something.
#[derive(Debug, Default)]
struct Nesting {
    parentheses: usize,
    bodies: usize,
    progress: Progress,
}

impl Nesting {
    fn is_outermost(&self) -> bool {
        self.parentheses == 0 && self.bodies == 0
    }

    fn see(&mut self, kind: TokenKind, bytes: &[u8]) {
        match kind {
            TokenKind::Punct(b'(') => self.parentheses += 1,
            TokenKind::Punct(b')') => self.parentheses = self.parentheses.saturating_sub(1),
            _ => (),
        }
        if self.parentheses > 0 {
            return;
        }
        if kind == TokenKind::Punct(b';') {
            self.progress = Progress::Start;
            return;
        }
        let is = |word: &str| kind == TokenKind::Word && bytes.eq_ignore_ascii_case(word.as_bytes());
        self.progress = match self.progress {
            Progress::Start if self.bodies > 0 && is("end") => {
                self.bodies -= 1;
                Progress::NoRoutine
            }
            Progress::Start if is("create") => Progress::Create,
            Progress::Create if is("or") => Progress::CreateOr,
            Progress::CreateOr if is("replace") => Progress::CreateOrReplace,
            Progress::Create | Progress::CreateOrReplace if is("function") || is("procedure") => {
                Progress::Routine
            }
            Progress::Routine | Progress::RoutineBegin if is("begin") => Progress::RoutineBegin,
            Progress::RoutineBegin if is("atomic") => {
                self.bodies += 1;
                Progress::Start
            }
            Progress::Routine | Progress::RoutineBegin => Progress::Routine,
            _ => Progress::NoRoutine,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(text: &str) -> Vec<&str> {
        let split = split(text.as_bytes(), Dialect::default(), &Rules::default());
        split.pieces.into_iter().map(|piece| &text[piece.range]).collect()
    }

    #[test]
    fn settings_that_decide_how_texts_are_read_are_noticed() {
        for (text, noticed) in [
            ("SET client_encoding = 'LATIN1'", true),
            ("set names 'LATIN1'", true),
            (
                "SELECT set_config('Standard_Conforming_Strings', 'off', false)",
                true,
            ),
            ("SET \"client_encoding\" = UTF8", true),
            ("SELECT 1 -- client_encoding", false),
            ("INSERT INTO t (name) VALUES ('x')", false),
        ] {
            let split = split(text.as_bytes(), Dialect::default(), &Rules::default());
            assert_eq!(split.mentions_dialect, noticed, "{text}");
        }
    }

    #[test]
    fn a_text_falls_apart_where_the_server_cuts_it() {
        for (text, expected) in [
            ("", &[][..]),
            (" ; /* only */ ;-- this\n", &[]),
            ("select 1", &["select 1"]),
            ("select 1;", &["select 1"]),
            ("a; b ;; c", &["a", " b ", " c"]),
            ("a;/* of b */ b; /* tail */", &["a", "/* of b */ b"]),
            (
                "select ';', \";\", $$;$$, E'\\';' /* ; */ -- ;\n;b",
                &["select ';', \";\", $$;$$, E'\\';' /* ; */ -- ;\n", "b"],
            ),
            (
                "create rule r as on insert to t do (delete from a; delete from b); c",
                &[
                    "create rule r as on insert to t do (delete from a; delete from b)",
                    " c",
                ],
            ),
            (
                "create function f() returns int begin atomic select case when 1=1 then 2 end; end; c",
                &[
                    "create function f() returns int begin atomic select case when 1=1 then 2 end; end",
                    " c",
                ],
            ),
            (
                "CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC END; c",
                &["CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC END", " c"],
            ),
            (
                "create function f() returns int begin atomic select 1 end; select 2 as end; end; c",
                &[
                    "create function f() returns int begin atomic select 1 end; select 2 as end; end",
                    " c",
                ],
            ),
            (
                "create function f() begin atomic create function g() begin atomic select 1; end; select 2; end; c",
                &[
                    "create function f() begin atomic create function g() begin atomic select 1; end; select 2; end",
                    " c",
                ],
            ),
            (
                "create function f(begin atomic) returns int as $$;$$ language sql; c",
                &[
                    "create function f(begin atomic) returns int as $$;$$ language sql",
                    " c",
                ],
            ),
            (
                "select begin atomic from t; end; c",
                &["select begin atomic from t", " end", " c"],
            ),
            ("begin; select 1; end", &["begin", " select 1", " end"]),
        ] {
            assert_eq!(statements(text), expected, "{text}");
        }
    }

    #[test]
    fn prepared_statements_are_noticed_however_they_are_named() {
        for (text, mentioned) in [
            ("select * from pg_prepared_statements", true),
            ("select * from PG_Prepared_Statements p", true),
            ("select * from pg_catalog.\"pg_prepared_statements\"", true),
            (r#"select * from U&"\0070g_prepared_statements""#, true),
            ("select * from pg_prepared_statement()", true),
            ("select * from pg_prepared_xacts", false),
            ("select 'pg_prepared_statements'", false),
        ] {
            let split = split(text.as_bytes(), Dialect::default(), &Rules::default());
            assert_eq!(split.mentions_prepared_statements, mentioned, "{text}");
        }
    }
}
