//! From a text to what is known about it.

use std::ops::Range;

use crate::sql::comment::{Comments, comments};
use crate::sql::cursor::Cursor;
use crate::sql::kind::{Verdict, classify, prepare, prepared};
use crate::sql::lexer::is_space;
use crate::sql::set_config::set_config;
use crate::sql::split::{Mentions, split};
use crate::sql::{Analysis, Dialect, Kind, Rules, Statement};

/// What this text is. Never fails, and tells nothing of errors: where the server will refuse the text, the verdict is
/// that of its first words.
pub fn analyze(text: &[u8], dialect: Dialect, rules: &Rules) -> Analysis {
    let split = split(text, dialect, rules);
    let reader = Reader { text, dialect, rules };
    let last = split.pieces.len();
    let statements = split.pieces.into_iter().enumerate().map(|(index, piece)| {
        let is_last = index + 1 == last;
        let tail = if is_last {
            split.tail.clone()
        } else {
            piece.range.end..piece.range.end
        };
        reader.statement(piece.range, tail, piece.mentions)
    });
    let statements: Box<[Statement]> = statements.collect();
    let resets_all = statements
        .iter()
        .any(|s| matches!(s.kind, Kind::ResetAll | Kind::DiscardAll));
    Analysis {
        statements,
        mentions_prepared_statements: split.mentions_prepared_statements,
        may_change_dialect: split.mentions_dialect || resets_all,
    }
}

struct Reader<'a> {
    text: &'a [u8],
    dialect: Dialect,
    rules: &'a Rules,
}

impl Reader<'_> {
    fn cursor(&self, range: &Range<usize>) -> Cursor<'_> {
        Cursor::new(self.text, range.clone(), self.dialect)
    }

    fn statement(&self, range: Range<usize>, tail: Range<usize>, mentions: Mentions) -> Statement {
        let cursor = self.cursor(&range);
        let verdict = match prepare(cursor) {
            None => classify(cursor, mentions, self.rules),
            Some((name, start)) => {
                let inner = start..range.end;
                let verdict = prepared(self.cursor(&inner), mentions, self.rules);
                let inner = Box::new(self.build(inner, tail.clone(), mentions, verdict));
                Verdict {
                    kind: Kind::Prepare { name, inner },
                    targets: Vec::new(),
                }
            }
        };
        self.build(range, tail, mentions, verdict)
    }

    fn build(
        &self,
        range: Range<usize>,
        tail: Range<usize>,
        mentions: Mentions,
        verdict: Verdict,
    ) -> Statement {
        // A tail without a comment costs no more than the look at its few bytes.
        let has_comment = mentions.comment
            || self
                .text
                .get(tail.clone())
                .is_some_and(|tail| tail.contains(&b'*'));
        let Comments { context, problems } = if has_comment {
            comments(self.text, range.clone(), tail, self.dialect, self.rules)
        } else {
            Comments::default()
        };
        Statement {
            body: self.trimmed(&range),
            kind: verdict.kind,
            targets: verdict.targets.into(),
            context,
            problems: problems.into(),
            set_config: mentions
                .set_config
                .then(|| set_config(self.cursor(&range)))
                .flatten(),
            range,
        }
    }

    fn trimmed(&self, range: &Range<usize>) -> Range<usize> {
        let bytes = self.text.get(range.clone()).unwrap_or_default();
        let start = bytes.iter().take_while(|byte| is_space(**byte)).count();
        let end = bytes.iter().rev().take_while(|byte| is_space(**byte)).count();
        range.start + start..range.end.saturating_sub(end).max(range.start + start)
    }
}
