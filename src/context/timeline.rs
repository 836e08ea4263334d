//! What decides over a write's message, as the session's statements change it.

use std::sync::Arc;

use super::object::Context;
use super::settings::{Scope, Settings};
use crate::wire::backend::TransactionStatus;

/// The value of `bemi.context`.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A context, or none.
    Known(Option<Arc<Context>>),
    /// Set by an expression whose value only the server knows so far.
    OnServer,
}

/// The payload of a message, shared by all that remember it.
pub type Message = Arc<[u8]>;

/// What a statement does to the timeline once it has succeeded.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT, END, PREPARE TRANSACTION.
    Commit {
        /// AND CHAIN: the next block begins at once.
        chain: bool,
    },
    /// ROLLBACK, ABORT.
    Rollback {
        /// AND CHAIN: the next block begins at once.
        chain: bool,
    },
    /// SAVEPOINT name.
    Savepoint(Box<str>),
    /// RELEASE name.
    Release(Box<str>),
    /// ROLLBACK TO name.
    RollbackTo(Box<str>),
    /// SET, SET LOCAL, `set_config`.
    Set(Scope, Value),
    /// SET .. FROM CURRENT: the value stays and its scope changes.
    Keep(Scope),
    /// RESET, SET .. TO DEFAULT.
    Reset(Scope),
    /// RESET ALL.
    ResetAll,
    /// DISCARD ALL. It commits at once, whatever fails behind it in its group (`PreventInTransactionBlock`).
    Discard,
    /// A message of ours went to the log.
    Emitted(Message),
}

impl Effect {
    /// Whether it changes the value of the setting by itself.
    pub fn changes_setting(&self) -> bool {
        matches!(
            self,
            Self::Set(..) | Self::Keep(_) | Self::Reset(_) | Self::ResetAll | Self::Discard
        )
    }

    /// Whether it starts, ends or divides a transaction.
    pub fn controls_transaction(&self) -> bool {
        !self.changes_setting() && !matches!(self, Self::Emitted(_))
    }
}

/// The setting, the transaction block and the message in force, at one point of a session.
///
/// Two of them exist where a client runs ahead of the server's replies: what is confirmed, and what will be true
/// if everything in flight succeeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    setting: Settings<Value>,
    status: TransactionStatus,
    savepoints: Vec<Savepoint>,
    in_force: Option<Message>,
}

#[derive(Debug, Clone, PartialEq)]
struct Savepoint {
    name: Box<str>,
    /// A message that followed is gone after ROLLBACK TO; this one is then in force again.
    in_force: Option<Message>,
}

impl Timeline {
    /// The start of a session; `reset` is what the startup packet set.
    pub fn new(reset: Option<Arc<Context>>) -> Self {
        Self {
            setting: Settings::new(Value::Known(reset)),
            status: TransactionStatus::Idle,
            savepoints: Vec::new(),
            in_force: None,
        }
    }

    /// The value of `bemi.context`.
    pub fn value(&self) -> &Value {
        self.setting.value()
    }

    /// The last message of this transaction that was not rolled back.
    pub fn message_in_force(&self) -> Option<&Message> {
        self.in_force.as_ref()
    }

    /// Whether BEGIN opened a block that has not failed.
    pub fn in_explicit_block(&self) -> bool {
        self.status == TransactionStatus::InBlock
    }

    /// Whether everything but the end of the transaction is refused.
    pub fn in_failed_transaction(&self) -> bool {
        self.status == TransactionStatus::Failed
    }

    /// Whether the end of the transaction would change nothing here.
    pub fn is_settled(&self) -> bool {
        self.setting.is_settled() && self.in_force.is_none()
    }

    /// Whether the value would survive any end of the transaction.
    pub fn setting_is_settled(&self) -> bool {
        self.setting.is_settled()
    }

    /// A statement succeeded.
    pub fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Begin => {
                if self.status == TransactionStatus::Idle {
                    self.status = TransactionStatus::InBlock;
                }
            }
            // A failed transaction can only be rolled back.
            Effect::Commit { chain } => self.end_transaction(!self.in_failed_transaction(), *chain),
            Effect::Rollback { chain } => self.end_transaction(false, *chain),
            Effect::Savepoint(name) => {
                self.savepoints.push(Savepoint {
                    name: name.clone(),
                    in_force: self.in_force.clone(),
                });
            }
            Effect::Release(name) => self.release(name),
            Effect::RollbackTo(name) => self.roll_back_to(name),
            Effect::Set(scope, value) => self.setting.set(*scope, value.clone(), self.level()),
            Effect::Keep(scope) => self
                .setting
                .set(*scope, self.setting.value().clone(), self.level()),
            Effect::Reset(scope) => self.setting.reset(*scope, self.level()),
            Effect::ResetAll => self.setting.reset_all(self.level()),
            Effect::Discard => {
                self.setting.reset_all(self.level());
                self.end_transaction(true, false);
            }
            Effect::Emitted(message) => self.in_force = Some(Arc::clone(message)),
        }
    }

    /// A Query or a Sync ends and no reply is known yet: outside a block its work will be committed.
    pub fn assume_end_of_group(&mut self) {
        if self.status == TransactionStatus::Idle {
            self.end_transaction(true, false);
        }
    }

    /// ReadyForQuery: the server says where it stands; `failed` if there was an error since the last one.
    pub fn end_of_group(&mut self, status: TransactionStatus, failed: bool) {
        if status == TransactionStatus::Idle {
            self.end_transaction(!failed, false);
        }
        self.status = status;
    }

    fn end_transaction(&mut self, committed: bool, chain: bool) {
        if committed {
            self.setting.commit(1);
        } else {
            self.setting.roll_back(1);
        }
        self.savepoints.clear();
        self.in_force = None;
        self.status = if chain {
            TransactionStatus::InBlock
        } else {
            TransactionStatus::Idle
        };
    }

    /// Nesting level of the innermost savepoint; the transaction itself is 1.
    fn level(&self) -> usize {
        self.savepoints.len() + 1
    }

    fn release(&mut self, name: &str) {
        if let Some(at) = self.find(name) {
            self.setting.commit(at + 2);
            self.savepoints.truncate(at);
        }
    }

    fn roll_back_to(&mut self, name: &str) {
        if let Some(at) = self.find(name) {
            self.setting.roll_back(at + 2);
            self.savepoints.truncate(at + 1);
            self.in_force = self
                .savepoints
                .last()
                .and_then(|savepoint| savepoint.in_force.clone());
            self.status = TransactionStatus::InBlock;
        }
    }

    /// Of several savepoints with one name the youngest is meant.
    fn find(&self, name: &str) -> Option<usize> {
        self.savepoints
            .iter()
            .rposition(|savepoint| *savepoint.name == *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Arc::from(text.as_bytes())
    }

    fn set(scope: Scope, text: &str) -> Effect {
        let context = Context::parse(text, 1000).unwrap().map(Arc::new);
        Effect::Set(scope, Value::Known(context))
    }

    fn after(effects: &[Effect]) -> Timeline {
        let mut timeline = Timeline::new(None);
        for effect in effects {
            timeline.apply(effect);
        }
        timeline
    }

    #[test]
    fn rolled_back_to_a_savepoint_the_message_is_gone_and_the_one_before_is_in_force() {
        let timeline = after(&[
            Effect::Begin,
            Effect::Emitted(message("1")),
            Effect::Savepoint("s".into()),
            Effect::Emitted(message("2")),
            Effect::RollbackTo("s".into()),
        ]);
        assert_eq!(timeline.message_in_force(), Some(&message("1")));
    }

    #[test]
    fn a_released_savepoint_keeps_its_message() {
        let timeline = after(&[
            Effect::Begin,
            Effect::Savepoint("s".into()),
            Effect::Emitted(message("2")),
            Effect::Release("s".into()),
        ]);
        assert_eq!(timeline.message_in_force(), Some(&message("2")));
    }

    #[test]
    fn of_two_savepoints_with_one_name_the_youngest_is_meant() {
        let timeline = after(&[
            Effect::Begin,
            set(Scope::Session, r#"{"a":1}"#),
            Effect::Savepoint("s".into()),
            set(Scope::Session, r#"{"a":2}"#),
            Effect::Savepoint("s".into()),
            set(Scope::Session, r#"{"a":3}"#),
            Effect::RollbackTo("s".into()),
        ]);
        let Value::Known(Some(context)) = timeline.value() else {
            panic!("no context")
        };
        assert_eq!(context.members(), br#""a":2"#);
    }

    #[test]
    fn an_implicit_transaction_that_failed_takes_its_set_along() {
        let mut timeline = after(&[set(Scope::Session, r#"{"a":1}"#)]);
        timeline.end_of_group(TransactionStatus::Idle, true);
        assert_eq!(timeline.value(), &Value::Known(None));
        assert!(timeline.is_settled());
    }

    #[test]
    fn discard_all_is_not_rolled_back_by_what_fails_behind_it() {
        let mut timeline = after(&[set(Scope::Session, r#"{"a":1}"#)]);
        timeline.end_of_group(TransactionStatus::Idle, false);
        timeline.apply(&Effect::Discard);
        timeline.end_of_group(TransactionStatus::Idle, true);
        assert_eq!(timeline.value(), &Value::Known(None));
    }

    #[test]
    fn commit_in_a_failed_transaction_rolls_back() {
        let mut timeline = after(&[Effect::Begin, set(Scope::Session, r#"{"a":1}"#)]);
        timeline.end_of_group(TransactionStatus::Failed, true);
        timeline.apply(&Effect::Commit { chain: false });
        assert_eq!(timeline.value(), &Value::Known(None));
    }

    #[test]
    fn a_chained_block_starts_without_a_message_in_force() {
        let timeline = after(&[
            Effect::Begin,
            Effect::Emitted(message("1")),
            Effect::Commit { chain: true },
        ]);
        assert!(timeline.in_explicit_block());
        assert_eq!(timeline.message_in_force(), None);
    }
}
