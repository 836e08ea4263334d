//! The simple protocol: a text of statements, with ours put between them.
//!
//! ```text
//!    SELECT 1; INSERT INTO t ...; COMMIT
//!             ▲
//!             SELECT pg_catalog.pg_logical_emit_message(true,'_bemi',E'{...}') AS "_bemi";
//! ```
//! What is put in stands in the same Query, so that an implicit transaction takes both; the positions that errors
//! report are moved back to what the client wrote.

use std::collections::VecDeque;
use std::sync::Arc;

use super::edit::Edit;
use super::extended::probed;
use super::inbound::Step;
use super::plan::{Plan, Write, Writes};
use super::refusal::FAILING_SQL;
use super::replies::{Insertion, Kind, Outcome, Owner, QueryReplies, Reply, Slot};
use super::verdict::Assignment;
use super::{Reserved, Session, Verdict, ours};
use crate::context::{Effect, Message};
use crate::wire::encoding::ClientEncoding;
use crate::wire::frame::Header;
use crate::wire::frontend;

impl Session {
    pub(super) fn on_query(&mut self, header: Header, body: &[u8], edit: &mut Edit<'_>) -> Step {
        let Ok(text) = frontend::query(body) else {
            self.sent(Reply::client(Kind::Query(None)));
            return self.forward(header, edit);
        };
        if self.dialect_is_uncertain() {
            return Step::Wait;
        }
        let verdict = self.verdict(text);
        if verdict.is_plain() {
            self.sent(Reply::client(Kind::Query(None)));
            return self.forward(header, edit);
        }
        let depends_on_context = verdict.may_write() || self.policy.is_pooled;
        if (depends_on_context && self.must_wait(verdict.may_end_transaction()))
            || self.executes_uncertain(&verdict)
            || self.block_is_uncertain(verdict.statements())
        {
            return Step::Wait;
        }
        self.note_dialect(&verdict);
        if verdict.mentions_prepared_statements() {
            self.hide_reserved_ahead_of_query(edit);
        }
        self.warn_of_problems(&verdict);
        let rewritten = self.rewrite(&verdict, text);
        let replies = QueryReplies {
            slots: rewritten.slots,
            insertions: rewritten.insertions,
        };
        let matters = !replies.insertions.is_empty() || replies.slots.iter().any(Slot::matters);
        if replies.insertions.is_empty() {
            self.pass(edit, header.frame_len);
        } else {
            edit.drop(header.frame_len);
            frontend::write_query(edit.insert(), &rewritten.text);
        }
        // The statements' effects were counted on while the text was rewritten.
        self.close_group_if(true);
        let replies = matters.then(|| Box::new(replies));
        self.replies.push(Reply::client(Kind::Query(replies)));
        Step::Done
    }

    /// In a Query there is no place for a Close; it goes ahead, with a Sync of its own. Where the client did not
    /// end a group with a Sync, one of ours would commit it, or end what the server skips; there the Close stands in that
    /// group.
    fn hide_reserved_ahead_of_query(&mut self, edit: &mut Edit<'_>) {
        if self.reserved == Reserved::Absent {
            return;
        }
        let is_alone = !self.is_unsynced;
        self.hide_reserved(edit);
        if is_alone {
            frontend::write_sync(edit.insert());
            self.sent(Reply {
                owner: Owner::Housekeeping,
                kind: Kind::Sync,
                outcome: None,
            });
        }
    }

    fn plan_statement(&self, verdict: &Verdict, index: usize) -> Plan {
        let Some(statement) = verdict.statements().get(index) else {
            return Plan::Nothing;
        };
        let own = verdict.comment(index);
        match self.writes(statement) {
            Writes::No => Plan::Nothing,
            Writes::Itself => self.plan(&Write {
                verdict,
                index,
                targets: &statement.targets,
                comments: [own, None],
            }),
            Writes::Executes(inner) => self.plan(&Write {
                verdict,
                index,
                targets: inner.statement().map_or(&[], |statement| &statement.targets),
                comments: [inner.comment().filter(|_| self.comments_count(&inner)), own],
            }),
        }
    }

    fn rewrite<'a>(&mut self, verdict: &Arc<Verdict>, text: &'a [u8]) -> Rewrite<'a> {
        let mut rewrite = Rewrite::new(text, self.counting);
        for (index, statement) in verdict.statements().iter().enumerate() {
            self.put_ahead(verdict, index, statement.range.start, &mut rewrite);
            let question = self.question(verdict, index);
            if let Some(sql) = question.and_then(|_| self.restore_sql()) {
                rewrite.put_ahead(statement.range.start, &sql);
                rewrite.slot(Owner::Housekeeping, None);
            }
            let assigned = verdict.assignment(index).and_then(Assignment::effect);
            let outcome = assigned
                .map(Outcome::Timeline)
                .or_else(|| self.outcome_of(verdict, index));
            self.count_on(outcome.as_ref());
            rewrite.slot(Owner::Client, outcome);
            if let Some(question) = question {
                let outcome = probed(question);
                self.count_on(Some(&outcome));
                rewrite.put_behind(
                    statement.range.end,
                    &ours::probe_sql(self.policy.rules.max_context_bytes),
                );
                rewrite.slot(Owner::Probe, Some(outcome));
            }
        }
        rewrite.finish();
        rewrite
    }

    fn put_ahead(&mut self, verdict: &Verdict, index: usize, at: usize, rewrite: &mut Rewrite<'_>) {
        let (sql, message) = match self.plan_statement(verdict, index) {
            Plan::Emit(payload) => (ours::emit_sql(&payload), Some(payload)),
            Plan::EmitOnServer(sql) => (sql, Some(Message::default())),
            Plan::Nothing => (String::new(), None),
        };
        if let Some(message) = message {
            let outcome = Outcome::Timeline(Effect::Emitted(message));
            self.count_on(Some(&outcome));
            rewrite.put_ahead(at, &sql);
            rewrite.slot(Owner::Message, Some(outcome));
        }
        if let Some(Assignment::Refused(refusal)) = verdict.assignment(index) {
            self.counters.refusals += 1;
            rewrite.put_ahead(at, FAILING_SQL);
            rewrite.slot(Owner::Refusal(Box::new(refusal.clone())), None);
        }
    }

    fn count_on(&mut self, outcome: Option<&Outcome>) {
        if let Some(effect) = outcome.and_then(Outcome::effect) {
            self.advance(&effect.clone());
        }
    }
}

/// A Query's text while statements are put into it, front to back.
struct Rewrite<'a> {
    original: &'a [u8],
    encoding: ClientEncoding,
    /// Bytes of the original that stand in `text` already.
    copied: usize,
    /// Characters of `text`.
    chars: usize,
    text: Vec<u8>,
    slots: VecDeque<Slot>,
    insertions: Vec<Insertion>,
}

impl<'a> Rewrite<'a> {
    fn new(original: &'a [u8], encoding: ClientEncoding) -> Self {
        Self {
            original,
            encoding,
            copied: 0,
            chars: 0,
            text: Vec::new(),
            slots: VecDeque::new(),
            insertions: Vec::new(),
        }
    }

    fn slot(&mut self, owner: Owner, outcome: Option<Outcome>) {
        self.slots.push_back(Slot { owner, outcome });
    }

    fn put_ahead(&mut self, at: usize, sql: &str) {
        self.copy_to(at);
        self.insert(&[sql.as_bytes(), b";"]);
    }

    /// Behind the statement that ends at `end`. A line comment at the end of the text must not swallow it.
    fn put_behind(&mut self, end: usize, sql: &str) {
        if self.original.get(end) == Some(&b';') {
            self.copy_to(end + 1);
            self.insert(&[sql.as_bytes(), b";"]);
        } else {
            self.copy_to(self.original.len());
            self.insert(&[b"\n;", sql.as_bytes()]);
        }
    }

    fn copy_to(&mut self, at: usize) {
        let piece = self.original.get(self.copied..at).unwrap_or_default();
        self.chars += self.encoding.count_chars(piece);
        self.text.extend_from_slice(piece);
        self.copied = self.copied.max(at);
    }

    /// What we insert is ASCII: as many characters as bytes.
    fn insert(&mut self, pieces: &[&[u8]]) {
        let len = pieces.iter().map(|piece| piece.len()).sum();
        self.text.reserve(len + self.original.len() - self.copied);
        self.insertions.push(Insertion { at: self.chars, len });
        self.chars += len;
        pieces.iter().for_each(|piece| self.text.extend_from_slice(piece));
    }

    /// Characters behind the last insertion need not be counted.
    fn finish(&mut self) {
        if !self.insertions.is_empty() {
            self.text
                .extend_from_slice(self.original.get(self.copied..).unwrap_or_default());
        }
    }
}

/// A position in what the client wrote, from one in what was sent, both in characters from 1; `None` when it lies
/// in what we put in.
pub(super) fn original_position(insertions: &[Insertion], sent: usize) -> Option<usize> {
    let mut ours = 0;
    for insertion in insertions {
        if sent <= insertion.at {
            break;
        }
        if sent <= insertion.at + insertion.len {
            return None;
        }
        ours += insertion.len;
    }
    Some(sent - ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten<'a>(text: &'a str, ahead_of: &[usize]) -> Rewrite<'a> {
        let mut rewrite = Rewrite::new(text.as_bytes(), ClientEncoding::default());
        for at in ahead_of {
            rewrite.put_ahead(*at, "EMIT");
        }
        rewrite.finish();
        rewrite
    }

    #[test]
    fn positions_lead_back_to_what_the_client_wrote() {
        let original = "sélect é; insért; x";
        let second = original.find(" x").expect("there");
        let rewrite = rewritten(original, &[0, second]);
        let sent = String::from_utf8(rewrite.text.clone()).expect("UTF-8");
        assert_eq!(sent, "EMIT;sélect é; insért;EMIT; x");
        for (position, c) in sent.chars().enumerate() {
            match original_position(&rewrite.insertions, position + 1) {
                Some(back) => assert_eq!(
                    original.chars().nth(back - 1),
                    Some(c),
                    "position {}",
                    position + 1
                ),
                None => assert!("EMIT;".contains(c)),
            }
        }
    }

    #[test]
    fn a_line_comment_does_not_swallow_what_stands_behind() {
        let mut rewrite = Rewrite::new(b"select 1 -- end", ClientEncoding::default());
        rewrite.put_behind(15, "PROBE");
        rewrite.finish();
        assert_eq!(rewrite.text, b"select 1 -- end\n;PROBE");
        let mut rewrite = Rewrite::new(b"select 1; -- end", ClientEncoding::default());
        rewrite.put_behind(8, "PROBE");
        rewrite.finish();
        assert_eq!(rewrite.text, b"select 1;PROBE; -- end");
    }
}
