//! What the client sends: told apart by message type, followed, forwarded.

use std::sync::Arc;

use super::edit::Edit;
use super::replies::{Kind, Outcome, Owner, Reply};
use super::{Reserved, Session, ours};
use crate::wire::frame::{HEADER_LEN, Header};
use crate::wire::frontend::{self, Named, is_session_message, tag};
use crate::wire::response::{Response, Severity, sqlstate};

/// Why the rest of the input was not consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More bytes of the client are needed.
    NeedMore,
    /// Replies of the server are needed first; call again after the next of them.
    Wait,
}

/// What became of one frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Decided on.
    Done,
    NeedMore,
    Wait,
}

impl Session {
    /// Decides on as much of the client's bytes as can be decided on now.
    ///
    /// A stream that is out of step (a length that cannot be, a type that is none) is forwarded untouched from there
    /// on: the server ends it with the error the client would read without a proxy.
    pub fn on_client(&mut self, edit: &mut Edit<'_>) -> Progress {
        loop {
            self.pass(edit, self.inbound_rest.keep);
            if self.inbound_rest.keep > 0 {
                return Progress::NeedMore;
            }
            if self.replies.len() >= self.policy.max_pending_replies {
                return Progress::Wait;
            }
            let step = match edit.rest().first() {
                None => Step::NeedMore,
                Some(tag) if !is_session_message(*tag) => self.give_up(),
                Some(_) => match Header::read(edit.rest()) {
                    Ok(None) => Step::NeedMore,
                    Ok(Some(header)) => self.on_client_frame(header, edit),
                    Err(_) => self.give_up(),
                },
            };
            match step {
                Step::Done => {}
                Step::NeedMore => return Progress::NeedMore,
                Step::Wait => return Progress::Wait,
            }
        }
    }

    /// Forwards all that will ever come.
    fn give_up(&mut self) -> Step {
        self.inbound_rest.keep = usize::MAX;
        Step::Done
    }

    /// Forwards the next `len` bytes, those that have not come yet included.
    pub(super) fn pass(&mut self, edit: &mut Edit<'_>, len: usize) {
        let now = len.min(edit.rest().len());
        edit.keep(now);
        self.inbound_rest.keep = len - now;
    }

    fn on_client_frame(&mut self, header: Header, edit: &mut Edit<'_>) -> Step {
        let is_skipped = self.is_skipping && header.tag != tag::SYNC;
        if is_skipped {
            return self.forward(header, edit);
        }
        let ends_copy = self.is_copying && !belongs_to_copy(header.tag);
        let step = if self.group_must_wait(header) {
            Step::Wait
        } else {
            self.on_followed_frame(header, edit)
        };
        match step {
            Step::Wait if ends_copy => self.pass_into_copy(header, edit),
            Step::Done if ends_copy => {
                self.is_copying = false;
                Step::Done
            }
            step => step,
        }
    }

    /// Passes a frame in whose place COPY data are awaited, and which would have to wait for the end of that COPY. It ends
    /// the session (`CopyGetData` in copyfromparse.c), unless COPY has failed and its error is still on its way: then the
    /// server takes it for what it is, and so do we.
    fn pass_into_copy(&mut self, header: Header, edit: &mut Edit<'_>) -> Step {
        self.is_copying = false;
        let body = edit.rest().get(HEADER_LEN..header.frame_len).unwrap_or_default();
        let (kind, outcome) = match header.tag {
            tag::PARSE => {
                let name = frontend::Parse::peek_name(body).unwrap_or_default();
                self.statements.send(name, None, self.group);
                (Kind::Parse, Some(Outcome::Statement))
            }
            tag::BIND => (Kind::Bind, None),
            tag::EXECUTE => (Kind::Execute, None),
            tag::DESCRIBE => (Kind::Describe, None),
            tag::CLOSE => (Kind::Close, None),
            _ => (Kind::Query(None), None),
        };
        self.sent(Reply {
            owner: Owner::Client,
            kind,
            outcome,
        });
        self.forward(header, edit)
    }

    fn on_followed_frame(&mut self, header: Header, edit: &mut Edit<'_>) -> Step {
        match header.tag {
            tag::QUERY | tag::PARSE | tag::EXECUTE | tag::DESCRIBE | tag::CLOSE => {
                self.on_whole_frame(header, edit)
            }
            tag::BIND => self.on_bind(header, edit),
            tag::SYNC => self.on_sync(header, edit),
            tag::FUNCTION_CALL => {
                self.sent(Reply::client(Kind::FunctionCall));
                self.forward(header, edit)
            }
            tag::COPY_DONE | tag::COPY_FAIL => {
                self.on_end_of_copy();
                self.forward(header, edit)
            }
            // COPY data, Flush and Terminate have no reply.
            _ => self.forward(header, edit),
        }
    }

    /// Whether a group must be held back as a whole, because one of its writes may have to wait.
    ///
    /// A transaction pooler gives the server connection away at a ReadyForQuery with no Sync behind it, even if a
    /// part of the next group is on its way already (PgBouncer counts Syncs only, `expect_rfq_count` in `server.c`):
    /// whoever gets the connection would read the replies to that part.
    fn group_must_wait(&self, header: Header) -> bool {
        let begins_group = !self.group_is_open
            && matches!(
                header.tag,
                tag::PARSE | tag::BIND | tag::DESCRIBE | tag::EXECUTE | tag::CLOSE
            );
        begins_group
            && self.policy.is_pooled
            && (self.must_wait(true) || self.statements.are_uncertain(self.group))
    }

    /// Forwards a frame whose reply, if it has one, is in the queue already.
    pub(super) fn forward(&mut self, header: Header, edit: &mut Edit<'_>) -> Step {
        self.pass(edit, header.frame_len);
        Step::Done
    }

    fn on_whole_frame(&mut self, header: Header, edit: &mut Edit<'_>) -> Step {
        if header.frame_len > self.policy.max_inspected_message_bytes {
            return self.on_oversized(header, edit);
        }
        let Some(body) = edit.rest().get(HEADER_LEN..header.frame_len) else {
            return Step::NeedMore;
        };
        match header.tag {
            tag::QUERY => self.on_query(header, body, edit),
            tag::PARSE => self.on_parse(header, body, edit),
            tag::EXECUTE => self.on_execute(header, body, edit),
            tag::CLOSE => self.on_close(header, body, edit),
            _ => {
                self.sent(Reply::client(Kind::Describe));
                self.forward(header, edit)
            }
        }
    }

    /// A message too long to look into passes untouched; who has context in force is told that it was not used.
    fn on_oversized(&mut self, header: Header, edit: &mut Edit<'_>) -> Step {
        let limit = self.policy.max_inspected_message_bytes;
        let body = edit
            .rest()
            .get(HEADER_LEN..limit.min(edit.rest().len()))
            .unwrap_or_default();
        let name = match frontend::Parse::peek_name(body) {
            None if header.tag == tag::PARSE && edit.rest().len() < limit => return Step::NeedMore,
            // A name that does not end within the limit is none that anybody will use again.
            name => name.unwrap_or_default(),
        };
        if matches!(header.tag, tag::QUERY | tag::PARSE) && self.has_context() {
            let message = format!(
                "statement of {} bytes was not looked into: its writes carry no context",
                header.frame_len
            );
            self.warn(
                Response::new(Severity::Warning, sqlstate::WARNING, message)
                    .hint(format!("The limit is max_inspected_message_bytes = {limit}.")),
            );
        }
        let (kind, outcome) = match header.tag {
            tag::QUERY => (Kind::Query(None), None),
            tag::PARSE => {
                self.statements.send(name, None, self.group);
                (Kind::Parse, Some(Outcome::Statement))
            }
            tag::EXECUTE => (Kind::Execute, None),
            tag::CLOSE => (Kind::Close, None),
            _ => (Kind::Describe, None),
        };
        self.sent(Reply {
            owner: Owner::Client,
            kind,
            outcome,
        });
        self.forward(header, edit)
    }

    /// Whether a write would get a message here and now, comments aside.
    fn has_context(&self) -> bool {
        use crate::context::Value;
        let value = match self.current().value() {
            Value::Known(context) => context.as_ref().is_some_and(|context| !context.is_empty()),
            Value::OnServer => true,
        };
        value || self.base.is_some()
    }

    /// Has a warning go out when its turn comes.
    pub(super) fn warn(&mut self, warning: Response) {
        self.counters.warnings += 1;
        self.replies.push(Reply::client(Kind::Notice(Box::new(warning))));
    }

    fn on_sync(&mut self, header: Header, edit: &mut Edit<'_>) -> Step {
        if self.is_copying {
            self.replies.sync_in_copy();
        } else {
            self.is_skipping = false;
            self.sent(Reply::client(Kind::Sync));
        }
        self.forward(header, edit)
    }

    fn on_end_of_copy(&mut self) {
        if self.is_copying {
            self.is_copying = false;
        } else {
            self.replies.end_copy();
        }
    }

    fn on_close(&mut self, header: Header, body: &[u8], edit: &mut Edit<'_>) -> Step {
        let outcome = match frontend::named("Close", body) {
            Ok(Named::Statement(name)) => {
                self.statements.send(name, None, self.group);
                Some(Outcome::Statement)
            }
            Ok(Named::Portal(name)) => {
                self.portals.send(name, None, self.group);
                Some(Outcome::Portal)
            }
            Err(_) => None,
        };
        self.sent(Reply {
            owner: Owner::Client,
            kind: Kind::Close,
            outcome,
        });
        self.forward(header, edit)
    }

    /// Takes the reserved statement out of the client's sight: it is about to list prepared statements.
    pub(super) fn hide_reserved(&mut self, edit: &mut Edit<'_>) {
        if self.reserved != Reserved::Absent {
            ours::write_close_statement(edit.insert());
            self.sent(Reply {
                owner: Owner::Housekeeping,
                kind: Kind::Close,
                outcome: Some(Outcome::Hidden),
            });
            self.reserved = Reserved::Unsure;
        }
    }

    /// Something that will remove the reserved statement, if it succeeds, was sent.
    fn doubt_reserved(&mut self) {
        if self.reserved != Reserved::Absent {
            self.reserved = Reserved::Unsure;
        }
    }

    /// What follows from a statement's success, apart from what it does to `bemi.context`.
    pub(super) fn outcome_of(&mut self, verdict: &Arc<super::Verdict>, index: usize) -> Option<Outcome> {
        use crate::context::Effect;
        use crate::sql::Kind as Sql;
        let effect = match &verdict.statements().get(index)?.kind {
            Sql::Begin => Effect::Begin,
            Sql::Commit { chain } => Effect::Commit { chain: *chain },
            Sql::PrepareTransaction => Effect::Commit { chain: false },
            Sql::Rollback { chain } => Effect::Rollback { chain: *chain },
            Sql::Savepoint(name) => Effect::Savepoint(name.as_str().into()),
            Sql::Release(name) => Effect::Release(name.as_str().into()),
            Sql::RollbackTo(name) => Effect::RollbackTo(name.as_str().into()),
            Sql::ResetAll => Effect::ResetAll,
            Sql::DiscardAll => {
                self.doubt_reserved();
                return Some(Outcome::DiscardAll);
            }
            Sql::Deallocate { name: None } => {
                self.doubt_reserved();
                return Some(Outcome::DeallocateAll);
            }
            Sql::Deallocate { name: Some(name) } => return Some(self.define(name, None)),
            Sql::Prepare { name, .. } => {
                let prepared = super::Prepared {
                    verdict: Arc::clone(verdict),
                    index,
                    is_sql_level: true,
                    group: self.group,
                    was_executed: false.into(),
                };
                return Some(self.define(name, Some(Arc::new(prepared))));
            }
            Sql::Write | Sql::BlockOnlyWrite | Sql::Execute { .. } | Sql::Set { .. } | Sql::Other => {
                return None;
            }
        };
        Some(Outcome::Timeline(effect))
    }

    fn define(&mut self, name: &str, definition: Option<Arc<super::Prepared>>) -> Outcome {
        self.statements.send(name.as_bytes(), definition, self.group);
        Outcome::Statement
    }
}

/// What a client may send while COPY FROM STDIN is under way.
fn belongs_to_copy(tag: u8) -> bool {
    matches!(
        tag,
        tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL | tag::FLUSH | tag::SYNC
    )
}
