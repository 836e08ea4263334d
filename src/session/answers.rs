//! Replies that answer what was asked, told apart: the client's go on, ours do not.

use super::edit::Edit;
use super::outbound::{Fate, OutOfStep};
use super::replies::{Kind, Outcome, Owner};
use super::{Session, SpareSyncs, ours};
use crate::context::{Context, Effect, Value};
use crate::wire::backend::{self, tag};
use crate::wire::frame::Header;

/// How far a message answers the entry at the front of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Part,
    Whole,
}

impl Session {
    pub(super) fn on_answer(
        &mut self,
        header: Header,
        whole: Option<&[u8]>,
        edit: &mut Edit<'_>,
    ) -> Result<Fate, OutOfStep> {
        let out_of_step = OutOfStep { tag: header.tag };
        let front = self.replies.front().ok_or(out_of_step)?;
        if matches!(front.kind, Kind::Query(Some(_))) {
            return self.on_query_answer(header, whole, edit);
        }
        let answer = answers(&front.kind, header.tag).ok_or(out_of_step)?;
        self.spare_syncs = SpareSyncs::default();
        let (is_ours, is_probe) = (!front.owner.is_client(), matches!(front.owner, Owner::Probe));
        let is_executed = matches!(front.kind, Kind::Execute);
        let fate = if is_ours { Fate::Drop } else { Fate::Keep };
        let is_probed_value = is_probe && header.tag == tag::DATA_ROW;
        if header.tag == tag::COMMAND_COMPLETE {
            self.replies.take_syncs_in_copy();
        }
        if answer == Answer::Part && !is_probed_value {
            if header.tag == tag::COPY_IN_RESPONSE {
                self.begin_copy();
            }
            return Ok(fate);
        }
        let Some(body) = whole else {
            return Ok(Fate::NeedMore);
        };
        if is_probed_value {
            self.read_probe(body);
            return Ok(Fate::Drop);
        }
        let outcome = self.replies.pop();
        self.confirm(outcome, header.tag, body);
        if is_executed && is_probe {
            self.release(edit);
        } else if is_executed && self.replies.probe_is_next() {
            self.hold_back(header, edit);
            return Ok(Fate::Drop);
        }
        Ok(fate)
    }

    /// An answer to a simple Query with statements that matter. Ours are known by the name of their column, so that
    /// a text whose statements were miscounted still cannot lose or leak a row.
    fn on_query_answer(
        &mut self,
        header: Header,
        whole: Option<&[u8]>,
        edit: &mut Edit<'_>,
    ) -> Result<Fate, OutOfStep> {
        answers(&Kind::Query(None), header.tag).ok_or(OutOfStep { tag: header.tag })?;
        self.spare_syncs = SpareSyncs::default();
        let owner = self.slot_owner();
        match header.tag {
            tag::ROW_DESCRIPTION if self.has_slot_of_ours() => {
                let Some(body) = whole else {
                    return Ok(Fate::NeedMore);
                };
                let is_ours = backend::only_column_name(body) == Ok(Some(ours::RESERVED.as_bytes()));
                if is_ours {
                    self.skip_to_slot_of_ours();
                    Ok(Fate::Drop)
                } else {
                    Ok(Fate::Keep)
                }
            }
            tag::COMMAND_COMPLETE | tag::EMPTY_QUERY_RESPONSE => {
                let Some(body) = whole else {
                    return Ok(Fate::NeedMore);
                };
                self.replies.take_syncs_in_copy();
                let outcome = self.replies.pop_slot();
                self.confirm(outcome, header.tag, body);
                Ok(self.on_statement_of_query(owner, header, edit))
            }
            tag::DATA_ROW if owner == Some(Whose::Probe) => {
                let Some(body) = whole else {
                    return Ok(Fate::NeedMore);
                };
                self.read_probe(body);
                Ok(Fate::Drop)
            }
            tag::COPY_IN_RESPONSE => {
                self.begin_copy();
                Ok(Fate::Keep)
            }
            _ if owner == Some(Whose::Ours) => Ok(Fate::Drop),
            _ => Ok(Fate::Keep),
        }
    }

    /// A statement of a Query is complete; whose it was is known from before.
    fn on_statement_of_query(&mut self, owner: Option<Whose>, header: Header, edit: &mut Edit<'_>) -> Fate {
        match owner {
            Some(Whose::Ours) => Fate::Drop,
            Some(Whose::Probe) => {
                self.release(edit);
                Fate::Drop
            }
            Some(Whose::Client) if self.slot_owner() == Some(Whose::Probe) => {
                self.hold_back(header, edit);
                Fate::Drop
            }
            Some(Whose::Client) | None => Fate::Keep,
        }
    }

    /// Keeps a message of the client's until a probe has answered as well: if that fails, or the transaction that it
    /// was the last statement of, the client must not have read that its statement succeeded.
    fn hold_back(&mut self, header: Header, edit: &Edit<'_>) {
        let frame = edit.rest().get(..header.frame_len).unwrap_or_default();
        self.held_back.extend_from_slice(frame);
    }

    fn release(&mut self, edit: &mut Edit<'_>) {
        if !self.held_back.is_empty() {
            edit.insert().append(&mut self.held_back);
        }
    }

    fn begin_copy(&mut self) {
        let end_was_sent = self.replies.ignore_syncs_during_copy();
        self.is_copying = !end_was_sent;
        self.look_ahead_again();
    }

    /// The value that only the server knew.
    fn read_probe(&mut self, body: &[u8]) {
        let Some(value) = self.probed_value(body) else {
            return;
        };
        let outcome = match self.replies.front_mut() {
            Some(front) => match &mut front.kind {
                Kind::Query(Some(query)) => query.slots.front_mut().and_then(|slot| slot.outcome.as_mut()),
                _ => front.outcome.as_mut(),
            },
            None => None,
        };
        if let Some(Outcome::Timeline(Effect::Set(_, unknown)) | Outcome::MaybeSet { found: unknown, .. }) =
            outcome
        {
            *unknown = value;
        }
    }

    fn probed_value(&self, body: &[u8]) -> Option<Value> {
        let digits = backend::first_column(body).ok()?.unwrap_or_default();
        let bytes = ours::probed_bytes(digits)?;
        let text = self.server_encoding.decode(&bytes);
        let context = Context::parse(&text, self.policy.rules.max_context_bytes).ok()?;
        Some(Value::Known(context.map(Into::into)))
    }

    fn slot_owner(&self) -> Option<Whose> {
        self.query_replies()?
            .slots
            .front()
            .map(|slot| Whose::of(&slot.owner))
    }

    fn has_slot_of_ours(&self) -> bool {
        self.query_replies()
            .is_some_and(|query| query.slots.iter().any(|slot| !slot.owner.is_client()))
    }

    fn skip_to_slot_of_ours(&mut self) {
        while self.slot_owner() == Some(Whose::Client) {
            let _ = self.replies.pop_slot();
        }
    }
}

/// Whose statement of a Query the server is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Client,
    Probe,
    Ours,
}

impl Whose {
    fn of(owner: &Owner) -> Self {
        match owner {
            Owner::Client => Self::Client,
            Owner::Probe => Self::Probe,
            Owner::Message | Owner::Refusal(_) | Owner::Housekeeping => Self::Ours,
        }
    }
}

/// Whether a message of this type answers an entry of this kind, and whether that completes it ("Message Flow").
fn answers(kind: &Kind, tag: u8) -> Option<Answer> {
    match (kind, tag) {
        (Kind::Parse, tag::PARSE_COMPLETE)
        | (Kind::Bind, tag::BIND_COMPLETE)
        | (Kind::Describe, tag::ROW_DESCRIPTION | tag::NO_DATA)
        | (Kind::Execute, tag::COMMAND_COMPLETE | tag::EMPTY_QUERY_RESPONSE | tag::PORTAL_SUSPENDED)
        | (Kind::Close, tag::CLOSE_COMPLETE) => Some(Answer::Whole),
        (Kind::Startup, _)
        | (Kind::Describe, tag::PARAMETER_DESCRIPTION)
        | (
            Kind::Execute | Kind::Query(_),
            tag::DATA_ROW
            | tag::COPY_IN_RESPONSE
            | tag::COPY_OUT_RESPONSE
            | tag::COPY_BOTH_RESPONSE
            | tag::COPY_DATA
            | tag::COPY_DONE,
        )
        | (Kind::Query(_), tag::ROW_DESCRIPTION | tag::COMMAND_COMPLETE | tag::EMPTY_QUERY_RESPONSE)
        | (Kind::FunctionCall, tag::FUNCTION_CALL_RESPONSE) => Some(Answer::Part),
        (
            Kind::Parse
            | Kind::Bind
            | Kind::Describe
            | Kind::Execute
            | Kind::Close
            | Kind::Sync
            | Kind::Query(_)
            | Kind::FunctionCall
            | Kind::SyncInCopy(_)
            | Kind::EndOfCopy(_)
            | Kind::Notice(_),
            _,
        ) => None,
    }
}
