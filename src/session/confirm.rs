//! What follows from a reply that says that something succeeded.

use super::replies::Outcome;
use super::{Reserved, Session};
use crate::context::{Effect, Scope, Value, payload};
use crate::wire::backend::{self, tag};

impl Session {
    /// A statement succeeded.
    pub(super) fn confirm(&mut self, outcome: Option<Outcome>, tag: u8, body: &[u8]) {
        match outcome {
            None => {}
            Some(Outcome::Statement) => self.statements.confirm(),
            Some(Outcome::Portal) => self.portals.confirm(),
            Some(Outcome::Hidden) => self.reserved_is_gone(),
            Some(Outcome::DeallocateAll) => {
                self.reserved_is_gone();
                self.statements.forget(true);
            }
            Some(Outcome::DiscardAll) => {
                self.reserved_is_gone();
                self.statements.forget(true);
                self.portals.forget(false);
                self.confirm_effect(&Effect::Discard);
            }
            Some(Outcome::Prepared { serial: confirmed }) => match self.reserved {
                Reserved::Sent { serial, .. } if serial == confirmed && !self.policy.is_pooled => {
                    self.reserved = Reserved::Ready;
                }
                Reserved::Sent { .. } | Reserved::Absent | Reserved::Unsure | Reserved::Ready => {}
            },
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

    /// Removed for sure, unless it was prepared again since that was sent.
    fn reserved_is_gone(&mut self) {
        if self.reserved == Reserved::Unsure {
            self.reserved = Reserved::Absent;
        }
    }

    /// What a statement did that may have set the setting, from the value found behind it. Where the same value does
    /// not tell, or it is not known when it ends, the server is asked from now on.
    fn what_was_set(&self, scope: Option<Scope>, found: Value) -> Option<Effect> {
        let before = self.confirmed.value();
        let is_known = found != Value::OnServer && *before != Value::OnServer;
        if self.policy.is_pooled {
            // There is nobody to ask later on. What may have been for the transaction only must not outlive it.
            let scope = scope.unwrap_or(Scope::Local);
            return (is_known && found != *before).then_some(Effect::Set(scope, found));
        }
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
}
