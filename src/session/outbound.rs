//! What the server sends: matched with what was asked, forwarded or taken out.

use super::edit::Edit;
use super::refusal::Refusal;
use super::replies::{Insertion, Kind, Outcome, Owner, QueryReplies};
use super::simple::original_position;
use super::{Reserved, Session, ours};
use crate::context::{Context, Effect, Scope, Value, payload};
use crate::wire::backend::{self, TransactionStatus, tag};
use crate::wire::encoding::ClientEncoding;
use crate::wire::frame::{HEADER_LEN, Header};
use crate::wire::response::{self, field, sqlstate};

/// A reply that answers nothing that was asked. What is ours and what is the client's can no longer be told apart,
/// so the session must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sent a message of type {:?} that answers nothing that was asked", *tag as char)]
pub struct OutOfStep {
    /// The message's type.
    pub tag: u8,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Drop,
    /// It was written anew.
    Replaced,
    NeedMore,
}

/// How far a message answers the entry at the front of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Part,
    Whole,
}

impl Session {
    /// Decides on as much of the server's bytes as can be decided on now; what is left needs more of them.
    ///
    /// # Errors
    /// [`OutOfStep`] when a reply cannot be matched; the connection must be closed.
    pub fn on_server(&mut self, edit: &mut Edit<'_>) -> Result<(), OutOfStep> {
        loop {
            self.finish_frame(edit);
            if self.outbound_rest.keep > 0 || self.outbound_rest.drop > 0 {
                return Ok(());
            }
            let header = match Header::read(edit.rest()) {
                Ok(None) => return Ok(()),
                Ok(Some(header)) => header,
                Err(bad) => return Err(OutOfStep { tag: bad.tag }),
            };
            self.release_notices(header.tag, edit);
            match self.on_server_frame(header, edit)? {
                Fate::Keep => self.outbound_rest.keep = header.frame_len,
                Fate::Drop => self.outbound_rest.drop = header.frame_len,
                Fate::Replaced => edit.drop(header.frame_len),
                Fate::NeedMore => return Ok(()),
            }
        }
    }

    fn finish_frame(&mut self, edit: &mut Edit<'_>) {
        let now = self.outbound_rest.keep.min(edit.rest().len());
        edit.keep(now);
        self.outbound_rest.keep -= now;
        let now = self.outbound_rest.drop.min(edit.rest().len());
        edit.drop(now);
        self.outbound_rest.drop -= now;
    }

    /// Entries without a reply go when their turn has come: a message that answers what stands behind them.
    fn release_notices(&mut self, tag: u8, edit: &mut Edit<'_>) {
        if matches!(
            tag,
            tag::NOTICE_RESPONSE | tag::NOTIFICATION_RESPONSE | tag::PARAMETER_STATUS
        ) {
            return;
        }
        while let Some(Kind::Notice(notice)) = self.replies.front().map(|reply| &reply.kind) {
            notice.write(edit.insert());
            self.replies.pop();
        }
    }

    fn on_server_frame(&mut self, header: Header, edit: &mut Edit<'_>) -> Result<Fate, OutOfStep> {
        let whole = edit.rest().get(HEADER_LEN..header.frame_len);
        let is_readable = header.frame_len <= self.policy.max_inspected_reply_bytes;
        match header.tag {
            tag::NOTIFICATION_RESPONSE
            | tag::AUTHENTICATION
            | tag::BACKEND_KEY_DATA
            | tag::NEGOTIATE_PROTOCOL_VERSION => Ok(Fate::Keep),
            tag::NOTICE_RESPONSE if self.insertions().is_empty() => Ok(Fate::Keep),
            // How much of it is there already must not matter.
            tag::PARAMETER_STATUS | tag::NOTICE_RESPONSE if !is_readable => Ok(Fate::Keep),
            tag::ERROR_RESPONSE if !is_readable => Ok(self.on_long_error()),
            tag::READY_FOR_QUERY if !is_readable => Err(OutOfStep { tag: header.tag }),
            tag::PARAMETER_STATUS | tag::NOTICE_RESPONSE | tag::READY_FOR_QUERY | tag::ERROR_RESPONSE => {
                match whole {
                    None => Ok(Fate::NeedMore),
                    Some(body) => self.on_control(header.tag, body, edit),
                }
            }
            _ => self.on_answer(header, whole, edit),
        }
    }

    fn on_control(&mut self, tag: u8, body: &[u8], edit: &mut Edit<'_>) -> Result<Fate, OutOfStep> {
        match tag {
            tag::PARAMETER_STATUS => {
                self.on_parameter_status(body);
                Ok(Fate::Keep)
            }
            tag::NOTICE_RESPONSE => Ok(self.move_position(tag, body, edit)),
            tag::READY_FOR_QUERY => self.on_ready_for_query(body),
            _ => Ok(self.on_error(body, edit)),
        }
    }

    /// An error too long to read still ends what it ends.
    fn on_long_error(&mut self) -> Fate {
        self.fail_front();
        Fate::Keep
    }

    /// A setting changed that decides how texts are read, or whether writes are possible at all.
    fn on_parameter_status(&mut self, body: &[u8]) {
        let Ok((name, value)) = backend::parameter_status(body) else {
            return;
        };
        match name {
            b"client_encoding" => {
                self.dialect.encoding = encoding(value);
                self.count_positions();
            }
            b"server_encoding" => {
                self.server_encoding = encoding(value);
                self.count_positions();
            }
            b"standard_conforming_strings" => self.dialect.standard_conforming_strings = value != b"off",
            b"in_hot_standby" => self.in_hot_standby = value == b"on",
            b"application_name" => {
                self.client.application_name = self.dialect.encoding.decode(value).into_owned();
                self.base = self.client.base(&self.policy);
            }
            // The others say nothing about statements.
            _ => {}
        }
    }

    /// What has as many characters in either encoding is counted as the client sent it; a server that knows no
    /// characters counts bytes.
    fn count_positions(&mut self) {
        let bytes_only = self.server_encoding == ClientEncoding::SqlAscii;
        self.counting = if bytes_only {
            ClientEncoding::SqlAscii
        } else {
            self.dialect.encoding
        };
    }

    fn on_ready_for_query(&mut self, body: &[u8]) -> Result<Fate, OutOfStep> {
        let out_of_step = OutOfStep {
            tag: tag::READY_FOR_QUERY,
        };
        let status = backend::ready_for_query(body).map_err(|_| out_of_step)?;
        let owner = match self.replies.pop() {
            Some(reply) if reply.is_boundary() => reply.owner,
            // Nothing was asked: the server is free to say it again.
            None => Owner::Client,
            Some(_) => return Err(out_of_step),
        };
        let failed = std::mem::take(&mut self.group_failed);
        let assumed = self.confirmed.value() != &Value::OnServer;
        self.confirmed.end_of_group(status, failed);
        self.is_copying = false;
        if status == TransactionStatus::Idle {
            self.portals.forget(false);
        }
        if self.replies.is_empty() {
            self.ahead = None;
            self.dialect_may_change &= status != TransactionStatus::Idle;
        } else if failed || !assumed || self.ahead_waits_for_server() {
            self.look_ahead_again();
        }
        Ok(if owner == Owner::Client {
            Fate::Keep
        } else {
            Fate::Drop
        })
    }

    fn ahead_waits_for_server(&self) -> bool {
        self.ahead
            .as_ref()
            .is_some_and(|ahead| *ahead.value() == Value::OnServer)
    }

    fn on_answer(
        &mut self,
        header: Header,
        whole: Option<&[u8]>,
        edit: &mut Edit<'_>,
    ) -> Result<Fate, OutOfStep> {
        let out_of_step = OutOfStep { tag: header.tag };
        let front = self.replies.front().ok_or(out_of_step)?;
        match &front.kind {
            Kind::Query(Some(_)) => self.on_query_answer(header, whole),
            kind => {
                let answer = answers(kind, header.tag).ok_or(out_of_step)?;
                let is_ours = front.owner != Owner::Client;
                let is_probe = front.owner == Owner::Probe && header.tag == tag::DATA_ROW;
                if answer == Answer::Part && !is_probe {
                    if header.tag == tag::COPY_IN_RESPONSE {
                        self.begin_copy();
                    }
                    return Ok(if is_ours { Fate::Drop } else { Fate::Keep });
                }
                let Some(body) = whole else {
                    return Ok(Fate::NeedMore);
                };
                if is_probe {
                    self.read_probe(body);
                    return Ok(Fate::Drop);
                }
                let _ = edit;
                let outcome = self.replies.take_outcome(false);
                self.replies.pop();
                self.confirm(outcome, header.tag, body);
                Ok(if is_ours { Fate::Drop } else { Fate::Keep })
            }
        }
    }

    /// An answer to a simple Query with statements that matter. Ours are known by the name of their column, so that
    /// a text whose statements were miscounted still cannot lose or leak a row.
    fn on_query_answer(&mut self, header: Header, whole: Option<&[u8]>) -> Result<Fate, OutOfStep> {
        let answer = answers(&Kind::Query(None), header.tag).ok_or(OutOfStep { tag: header.tag })?;
        debug_assert_eq!(answer, Answer::Part);
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
                let outcome = self.replies.take_outcome(true);
                self.confirm(outcome, header.tag, body);
                Ok(if owner == Some(Whose::Client) || owner.is_none() {
                    Fate::Keep
                } else {
                    Fate::Drop
                })
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

    fn begin_copy(&mut self) {
        let end_was_sent = self.replies.ignore_syncs_during_copy();
        self.is_copying = !end_was_sent;
        self.look_ahead_again();
    }

    /// The value that only the server knew.
    fn read_probe(&mut self, body: &[u8]) {
        let value = match backend::first_column(body) {
            Ok(text) => {
                let text = self.dialect.encoding.decode(text.unwrap_or_default());
                match Context::parse(&text, self.policy.rules.max_context_bytes) {
                    Ok(context) => Value::Known(context.map(Into::into)),
                    Err(_) => return,
                }
            }
            Err(_) => return,
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

    /// A statement succeeded.
    fn confirm(&mut self, outcome: Option<Outcome>, tag: u8, body: &[u8]) {
        match outcome {
            None => {}
            Some(Outcome::Statement) => self.statements.confirm(),
            Some(Outcome::Portal) => self.portals.confirm(),
            Some(Outcome::DeallocateAll) => self.statements.forget(true),
            Some(Outcome::DiscardAll) => {
                self.statements.forget(true);
                self.portals.forget(false);
                self.confirm_effect(&Effect::Reset(Scope::Session));
            }
            Some(Outcome::Prepared { group }) => {
                if self.reserved == (Reserved::Sent { group }) && !self.policy.is_pooled {
                    self.reserved = Reserved::Ready;
                }
            }
            Some(Outcome::MaybeSet { scope, found }) => {
                if let Some(effect) = self.what_was_set(scope, found) {
                    self.confirm_effect(&effect);
                }
            }
            // COMMIT in a failed transaction rolls back, and its tag says so.
            Some(Outcome::Timeline(Effect::Commit { chain }))
                if tag == tag::COMMAND_COMPLETE
                    && backend::command_complete(body) == Ok(&b"ROLLBACK"[..]) =>
            {
                self.confirm_effect(&Effect::Rollback { chain });
            }
            Some(Outcome::Timeline(effect)) => self.confirm_effect(&effect),
        }
        if self.replies.is_empty() {
            self.ahead = None;
        }
    }

    /// What a statement did that may have set the setting, from the value found behind it. Where the same value does
    /// not tell, or it is not known when it ends, the server is asked from now on.
    fn what_was_set(&self, scope: Option<Scope>, found: Value) -> Option<Effect> {
        let before = self.confirmed.value();
        let is_known = found != Value::OnServer && *before != Value::OnServer;
        match scope {
            Some(scope) if is_known && found != *before => Some(Effect::Set(scope, found)),
            Some(_) if is_known && self.confirmed.setting_is_settled() => None,
            Some(_) | None => Some(Effect::Set(Scope::Session, Value::OnServer)),
        }
    }

    fn confirm_effect(&mut self, effect: &Effect) {
        if let Effect::Emitted(message) = effect {
            self.counters.contextualised += u64::from(**message != *payload::NOTHING);
        }
        self.confirmed.apply(effect);
    }

    fn on_error(&mut self, body: &[u8], edit: &mut Edit<'_>) -> Fate {
        let refusal = self.refusal_for(body);
        let fate = match refusal {
            Some(refusal) => {
                refusal.response().write(edit.insert());
                Fate::Replaced
            }
            None => self.move_position(tag::ERROR_RESPONSE, body, edit),
        };
        self.fail_front();
        fate
    }

    /// What the client reads instead of an error that our own statement ran into on its behalf.
    fn refusal_for(&self, body: &[u8]) -> Option<Refusal> {
        let front = self.replies.front()?;
        let owner = match &front.kind {
            Kind::Query(Some(query)) => &query.slots.front()?.owner,
            _ => &front.owner,
        };
        let state = response::field_of(body, field::SQLSTATE).ok()??;
        match owner {
            Owner::Refusal(refusal) if state == sqlstate::INVALID_PARAMETER_VALUE.as_bytes() => {
                Some((**refusal).clone())
            }
            // Data exceptions: no JSON, no object.
            Owner::Probe if state.starts_with(b"22") => {
                let message = response::field_of(body, field::MESSAGE).ok()??;
                Some(Refusal::by_server(&self.dialect.encoding.decode(message)))
            }
            Owner::Refusal(_) | Owner::Probe | Owner::Client | Owner::Message | Owner::Housekeeping => None,
        }
    }

    /// Writes an error or notice anew with the position the client would have read.
    fn move_position(&self, tag: u8, body: &[u8], edit: &mut Edit<'_>) -> Fate {
        let is_ours = self
            .replies
            .front()
            .is_some_and(|front| front.owner != Owner::Client && !matches!(front.kind, Kind::Query(_)));
        let insertions = self.insertions();
        if insertions.is_empty() && !is_ours {
            return Fate::Keep;
        }
        let shift = |sent| {
            if is_ours {
                None
            } else {
                original_position(insertions, sent)
            }
        };
        let mut moved = Vec::with_capacity(body.len() + HEADER_LEN);
        match response::write_with_position(&mut moved, tag, body, shift) {
            Ok(()) => {
                edit.insert().extend_from_slice(&moved);
                Fate::Replaced
            }
            Err(_) => Fate::Keep,
        }
    }

    /// What the front entry asked has failed, and with it what the server skips because of that.
    fn fail_front(&mut self) {
        let Some(front) = self.replies.front() else { return };
        match &front.kind {
            Kind::Startup => return,
            Kind::Query(_) => {
                let skipped = self.replies.clear_slots();
                self.statements.discard(skipped);
            }
            Kind::FunctionCall | Kind::Sync => {}
            _ => {
                let discarded = self.replies.discard_to_sync();
                self.is_skipping = !discarded.found_sync;
                self.statements.discard(discarded.count(&Outcome::Statement));
                self.portals.discard(discarded.count(&Outcome::Portal));
            }
        }
        self.group_failed = true;
        self.is_copying = false;
        self.look_ahead_again();
    }

    fn query_replies(&self) -> Option<&QueryReplies> {
        match &self.replies.front()?.kind {
            Kind::Query(query) => query.as_deref(),
            _ => None,
        }
    }

    fn insertions(&self) -> &[Insertion] {
        self.query_replies().map_or(&[], |query| &query.insertions)
    }

    fn slot_owner(&self) -> Option<Whose> {
        self.query_replies()?
            .slots
            .front()
            .map(|slot| Whose::of(&slot.owner))
    }

    fn has_slot_of_ours(&self) -> bool {
        self.query_replies()
            .is_some_and(|query| query.slots.iter().any(|slot| slot.owner != Owner::Client))
    }

    fn skip_to_slot_of_ours(&mut self) {
        while self.slot_owner() == Some(Whose::Client) {
            let _ = self.replies.take_outcome(true);
        }
    }
}

/// An encoding as the server names it.
fn encoding(name: &[u8]) -> ClientEncoding {
    std::str::from_utf8(name)
        .ok()
        .and_then(ClientEncoding::from_name)
        .unwrap_or_default()
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
    let copies = matches!(
        tag,
        tag::COPY_IN_RESPONSE
            | tag::COPY_OUT_RESPONSE
            | tag::COPY_BOTH_RESPONSE
            | tag::COPY_DATA
            | tag::COPY_DONE
    );
    let completes = matches!(tag, tag::COMMAND_COMPLETE | tag::EMPTY_QUERY_RESPONSE);
    let (part, whole) = match kind {
        Kind::Startup => (true, false),
        Kind::Parse => (false, tag == tag::PARSE_COMPLETE),
        Kind::Bind => (false, tag == tag::BIND_COMPLETE),
        Kind::Close => (false, tag == tag::CLOSE_COMPLETE),
        Kind::Describe => (
            tag == tag::PARAMETER_DESCRIPTION,
            matches!(tag, tag::ROW_DESCRIPTION | tag::NO_DATA),
        ),
        Kind::Execute => (
            copies || tag == tag::DATA_ROW,
            completes || tag == tag::PORTAL_SUSPENDED,
        ),
        Kind::Query(_) => (
            copies || completes || matches!(tag, tag::DATA_ROW | tag::ROW_DESCRIPTION),
            false,
        ),
        Kind::FunctionCall => (tag == tag::FUNCTION_CALL_RESPONSE, false),
        Kind::Sync | Kind::EndOfCopy(_) | Kind::Notice(_) => (false, false),
    };
    if whole {
        Some(Answer::Whole)
    } else {
        part.then_some(Answer::Part)
    }
}
