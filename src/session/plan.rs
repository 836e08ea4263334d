//! What a write needs ahead of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::verdict::{self, Assignment, BoundArg, Question, Verdict};
use super::{Prepared, Session, ours};
use crate::config::CommentReuse;
use crate::context::{Context, Message, Value, payload};
use crate::sql::{Kind, Statement, TableName};

/// What to do before a write is forwarded.
#[derive(Debug, PartialEq)]
pub(super) enum Plan {
    /// Forward it.
    Nothing,
    /// Emit this payload.
    Emit(Message),
    /// Run this statement, which computes the payload on the server and emits it.
    EmitOnServer(String),
}

/// A write about to be forwarded.
#[derive(Debug)]
pub(super) struct Write<'a> {
    pub verdict: &'a Verdict,
    pub index: usize,
    pub targets: &'a [TableName],
    /// Contexts of its comments, the later ones over the earlier ones.
    pub comments: [Option<&'a Context>; 2],
}

/// A statement that is a write, by itself or through what it executes.
pub(super) enum Writes {
    No,
    Itself,
    /// EXECUTE of this prepared statement.
    Executes(Arc<Prepared>),
}

impl Session {
    /// Whether a statement writes, here and now.
    pub(super) fn writes(&self, statement: &Statement) -> Writes {
        match &statement.kind {
            Kind::Write => Writes::Itself,
            Kind::BlockOnlyWrite if self.current().in_explicit_block() => Writes::Itself,
            Kind::Execute { name, writes_anyway } => match self.statements.get(name.as_bytes()) {
                Some(prepared) if *writes_anyway || self.is_write(prepared) => {
                    Writes::Executes(Arc::clone(prepared))
                }
                None if *writes_anyway => Writes::Itself,
                Some(_) | None => Writes::No,
            },
            Kind::BlockOnlyWrite
            | Kind::Prepare { .. }
            | Kind::Deallocate { .. }
            | Kind::Begin
            | Kind::Commit { .. }
            | Kind::Rollback { .. }
            | Kind::PrepareTransaction
            | Kind::Savepoint(_)
            | Kind::Release(_)
            | Kind::RollbackTo(_)
            | Kind::Set { .. }
            | Kind::ResetAll
            | Kind::DiscardAll
            | Kind::Other => Writes::No,
        }
    }

    /// Whether a statement of this text executes one whose definition may still fail, while an older one exists.
    pub(super) fn executes_uncertain(&self, verdict: &Verdict) -> bool {
        verdict
            .statements()
            .iter()
            .any(|statement| match &statement.kind {
                Kind::Execute { name, .. } => self.statements.is_uncertain(name.as_bytes(), self.group),
                _ => false,
            })
    }

    /// What only the server can tell of a statement, once it has run.
    pub(super) fn question(&self, verdict: &Verdict, index: usize) -> Option<Question> {
        match (verdict.assignment(index), &verdict.statements().get(index)?.kind) {
            (Some(Assignment::Ask(question)), _) => Some(*question),
            (_, Kind::Execute { name, .. }) => self.statements.get(name.as_bytes())?.question(),
            _ => None,
        }
    }

    /// What must run ahead of a statement that asks the server for the setting, behind a transaction pooler: there
    /// the server's copy is what the last client of that server connection left. The scope is the transaction, which is
    /// as long as the connection stays ours.
    pub(super) fn restore_sql(&self) -> Option<String> {
        match self.current().value() {
            Value::Known(context) if self.policy.is_pooled => Some(ours::restore_sql(context.as_deref())),
            // In the same group a statement of the client's own has set it.
            Value::OnServer | Value::Known(_) => None,
        }
    }

    /// Whether what a PREPARE, or a Parse of the client, prepared is a write.
    fn is_write(&self, prepared: &Prepared) -> bool {
        let Some(statement) = prepared.statement() else {
            return false;
        };
        match &statement.kind {
            Kind::Write => true,
            Kind::BlockOnlyWrite => self.current().in_explicit_block(),
            _ => false,
        }
    }

    /// Whether an execution writes what depends on replies that have not come.
    pub(super) fn execution_must_wait(&self, prepared: &Prepared) -> bool {
        if self.block_is_uncertain(prepared.statement()) {
            return true;
        }
        let writes = prepared
            .statement()
            .is_some_and(|statement| !matches!(self.writes(statement), Writes::No));
        let gets_a_message = writes && !self.in_hot_standby && !self.current().in_failed_transaction();
        gets_a_message && self.must_wait(self.replies.open_group_controls_transaction())
    }

    /// What this write needs. Where it must wait, that comes first.
    pub(super) fn plan(&self, write: &Write<'_>) -> Plan {
        if self.in_hot_standby || self.current().in_failed_transaction() {
            return Plan::Nothing;
        }
        if !self.policy.wants(write.targets) {
            return self.take_back();
        }
        let sql = || self.policy.sql(write.verdict, write.index);
        let base = self.base.as_deref();
        let value = match self.current().value() {
            Value::Known(context) => context.as_deref(),
            // Behind a pooler the server's copy is ours only within the group that set it.
            Value::OnServer if self.policy.is_pooled && *self.confirmed.value() == Value::OnServer => None,
            Value::OnServer => {
                let (below, above) = (payload::merge(&[base]), payload::merge(&write.comments));
                let in_force = self.may_be_in_force();
                return Plan::EmitOnServer(ours::merge_on_server_sql(&below, &above, sql(), in_force));
            }
        };
        let [inner, outer] = write.comments;
        let layers = [base, value, inner, outer];
        if layers.iter().flatten().all(|layer| layer.is_empty()) {
            return self.take_back();
        }
        let payload = payload::build(&layers, sql());
        if self.is_in_force(&payload) {
            Plan::Nothing
        } else {
            Plan::Emit(payload.into())
        }
    }

    /// Whether a complete group that is still in flight may change the context of what is sent now, behind a statement
    /// that may end the transaction if `ends_here`: should that group fail, a COMMIT rolls back.
    pub(super) fn must_wait(&self, ends_here: bool) -> bool {
        if !self.replies.has_closed_groups() {
            return false;
        }
        // What is left of the transaction after an error only ReadyForQuery tells: a COMMIT that fails ends it.
        if self.group_failed {
            return true;
        }
        let may_end = ends_here
            || !self.confirmed.in_explicit_block()
            || self.replies.closed_groups_control_transaction();
        self.replies.closed_groups_change_setting() || (may_end && !self.confirmed.setting_is_settled())
    }

    /// Whether one of these is a write only inside of a transaction block, and replies that have not come tell whether
    /// there is one: a message ahead of it outside of a block would make it fail.
    pub(super) fn block_is_uncertain<'a>(&self, statements: impl IntoIterator<Item = &'a Statement>) -> bool {
        let mut statements = statements.into_iter();
        self.replies.closed_groups_control_transaction()
            && statements.any(|statement| statement.kind == Kind::BlockOnlyWrite)
    }

    /// A write without context takes back what an earlier message of its transaction said.
    fn take_back(&self) -> Plan {
        if self.may_be_in_force() && !self.is_in_force(payload::NOTHING) {
            Plan::Emit(payload::NOTHING.into())
        } else {
            Plan::Nothing
        }
    }

    fn may_be_in_force(&self) -> bool {
        let confirmed =
            self.replies.closed_groups_control_transaction() && self.confirmed.message_in_force().is_some();
        self.current().message_in_force().is_some() || confirmed
    }

    /// Whether the last message of the transaction says just this, whatever becomes of what is in flight.
    fn is_in_force(&self, payload: &[u8]) -> bool {
        !self.replies.has_closed_groups()
            && self
                .current()
                .message_in_force()
                .is_some_and(|message| **message == *payload)
    }

    /// Whether the comments in a prepared statement's text still count, by `[comments] reuse`.
    pub(super) fn comments_count(&self, prepared: &Prepared) -> bool {
        match self.policy.reuse {
            CommentReuse::Every => true,
            CommentReuse::First => !prepared.was_executed.load(Ordering::Relaxed),
            CommentReuse::SameSync => prepared.group == self.group,
        }
    }
}

impl Prepared {
    /// The statement that an execution runs.
    pub(super) fn statement(&self) -> Option<&Statement> {
        let statement = self.verdict.statements().get(self.index)?;
        match &statement.kind {
            Kind::Prepare { inner, .. } if self.is_sql_level => Some(inner),
            _ => Some(statement),
        }
    }

    /// What only the server can tell of an EXECUTE, whose arguments are expressions.
    pub(super) fn question(&self) -> Option<Question> {
        let statement = self.statement()?;
        if matches!(statement.kind, Kind::Set { .. } | Kind::ResetAll) {
            return Some(Question::Whether(None));
        }
        let call = statement.set_config.as_ref()?;
        match verdict::resolve(call, 0, |_| BoundArg::Unknown)? {
            Assignment::Ask(question) => Some(question),
            _ => Some(Question::Whether(None)),
        }
    }

    /// The context of its comments.
    pub(super) fn comment(&self) -> Option<&Context> {
        if self.is_sql_level {
            self.verdict.inner_comment(self.index)
        } else {
            self.verdict.comment(self.index)
        }
    }
}
