//! The short way for a short SELECT: it is read faster than it would be looked up.
//!
//! Texts with their values in them never come again; to look for them in a cache is in vain, and all that an analysis
//! builds is thrown away at once. Most of them are a SELECT in which no word is of interest, and that takes one pass
//! over its tokens, which leaves nothing behind.

use crate::sql::lexer::{Lexer, TokenKind};
use crate::sql::split::{Mentions, names_dialect, notice};
use crate::sql::{Dialect, Rules};

/// Whether this text is one SELECT, and nothing in it is of interest: [`analyze`](super::analyze) would find a statement
/// of kind [`Other`](super::Kind::Other) and nothing else to tell. Where it is not that simple the answer is no, and
/// says nothing.
pub fn is_plain_select(text: &[u8], dialect: Dialect, rules: &Rules) -> bool {
    let mut tokens = Lexer::new(text, 0, dialect).filter(|token| token.kind != TokenKind::LineComment);
    let is_select = tokens.next().is_some_and(|first| {
        first.kind == TokenKind::Word
            && text
                .get(first.start..first.end)
                .is_some_and(|word| word.eq_ignore_ascii_case(b"select"))
    });
    if !is_select {
        return false;
    }
    let mut has_ended = false;
    let mut mentions = Mentions::default();
    for token in tokens {
        if has_ended || token.kind == TokenKind::BlockComment {
            return false;
        }
        has_ended = token.kind == TokenKind::Punct(b';');
        let bytes = text.get(token.start..token.end).unwrap_or_default();
        if names_dialect(token.kind, bytes) || notice(&mut mentions, token, bytes, dialect, rules) {
            return false;
        }
    }
    mentions == Mentions::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::FunctionName;

    fn is_plain(text: &str) -> bool {
        let rules = Rules {
            functions: vec![FunctionName {
                schema: None,
                name: "touch".into(),
            }],
            ..Rules::default()
        };
        is_plain_select(text.as_bytes(), Dialect::default(), &rules)
    }

    #[test]
    fn a_select_without_a_word_of_interest_is_plain() {
        for text in [
            "select 1",
            " SELECT \"a\".*, count(*) FROM a WHERE id IN ($1, 'x') AND b->>'c' = E'\\n' LIMIT 1;\n",
            "select 'insert into t', '/*' -- into\n; -- into",
            "select",
        ] {
            assert!(is_plain(text), "{text}");
        }
    }

    #[test]
    fn whatever_needs_a_closer_look_is_not() {
        for text in [
            "",
            "insert into t values (1)",
            "(select 1)",
            "with a as (delete from t) select 1",
            "select 1; delete from t",
            "select 1;;",
            "select 1 /* a */",
            "select 1; /* a */",
            "select 1 into t",
            "select set_config('a', 'b', false)",
            "select \"set_config\"('a', 'b', false)",
            "select u&\"x\"('a', 'b', false)",
            "select my_set('client_encoding', 'LATIN1')",
            "select * from pg_prepared_statements",
            "select touch(1)",
            "select \"touch\"(1)",
        ] {
            assert!(!is_plain(text), "{text}");
        }
    }
}
