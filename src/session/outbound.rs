//! What the server sends: matched with what was asked, forwarded or taken out.

use super::{Session, SpareSyncs};

use super::edit::Edit;
use super::refusal::Refusal;
use super::replies::{Insertion, Kind, Owner, QueryReplies};
use super::simple::original_position;
use crate::context::Value;
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
pub(super) enum Fate {
    Keep,
    Drop,
    /// It was written anew.
    Replaced,
    NeedMore,
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
        let is_clients = if self.answers_spare_sync() {
            true
        } else {
            match self.replies.front() {
                Some(front) if front.is_boundary() => {
                    let is_clients = front.owner.is_client();
                    self.replies.pop();
                    is_clients
                }
                // Nothing was asked: the server is free to say it again.
                None => true,
                Some(_) => return Err(out_of_step),
            }
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
            self.is_unsynced = self.is_skipping;
            self.dialect_may_change &= status != TransactionStatus::Idle;
        } else if failed || !assumed || self.ahead_waits_for_server() {
            self.look_ahead_again();
        }
        Ok(if is_clients { Fate::Keep } else { Fate::Drop })
    }

    /// Whether a ReadyForQuery answers a Sync that was sent among COPY data. Where another Sync is next, it answers that
    /// one as well as this; should a second come, that is the spare one's.
    fn answers_spare_sync(&mut self) -> bool {
        if std::mem::take(&mut self.spare_syncs.behind_query) || self.spare_syncs.count == 0 {
            return false;
        }
        let next_is_sync = self
            .replies
            .front()
            .is_some_and(|front| matches!(front.kind, Kind::Sync));
        if !next_is_sync {
            self.spare_syncs.count -= 1;
        }
        !next_is_sync
    }

    fn ahead_waits_for_server(&self) -> bool {
        self.ahead
            .as_ref()
            .is_some_and(|ahead| *ahead.value() == Value::OnServer)
    }

    fn on_error(&mut self, body: &[u8], edit: &mut Edit<'_>) -> Fate {
        self.held_back.clear();
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
            .is_some_and(|front| !front.owner.is_client() && !matches!(front.kind, Kind::Query(_)));
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
        self.spare_syncs = SpareSyncs::default();
        let Some(front) = self.replies.front() else { return };
        match &front.kind {
            Kind::Startup => return,
            Kind::Query(query) => {
                let was_last = query.as_ref().is_some_and(|query| query.slots.len() == 1);
                match self.replies.clear_slots() {
                    1 if was_last => self.statements.settle_doubtful(),
                    skipped => self.statements.discard(skipped),
                }
                self.spare_syncs = SpareSyncs {
                    count: self.replies.take_syncs_in_copy(),
                    behind_query: true,
                };
            }
            Kind::FunctionCall | Kind::Sync => {}
            _ => {
                let discarded = self.replies.discard_to_sync();
                self.spare_syncs.count = self.replies.take_syncs_in_copy();
                self.is_skipping = !discarded.found_sync;
                self.statements.discard(discarded.statements);
                self.portals.discard(discarded.portals);
                self.forget_what_was_started();
            }
        }
        self.group_failed = true;
        self.is_copying = false;
        self.look_ahead_again();
    }

    /// An Execute may have been skipped, and come again behind a ROLLBACK TO. A message too many does no harm.
    fn forget_what_was_started(&self) {
        for portal in self.portals.definitions() {
            portal.was_started.set(false);
        }
    }

    pub(super) fn query_replies(&self) -> Option<&QueryReplies> {
        match &self.replies.front()?.kind {
            Kind::Query(query) => query.as_deref(),
            _ => None,
        }
    }

    fn insertions(&self) -> &[Insertion] {
        self.query_replies().map_or(&[], |query| &query.insertions)
    }
}

/// An encoding as the server names it.
fn encoding(name: &[u8]) -> ClientEncoding {
    std::str::from_utf8(name)
        .ok()
        .and_then(ClientEncoding::from_name)
        .unwrap_or_default()
}
