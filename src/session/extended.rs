//! The extended protocol: Parse, Bind, Execute.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::edit::Edit;
use super::inbound::Step;
use super::plan::{Plan, Write, Writes};
use super::refusal::{FAILING_SQL, Refusal};
use super::replies::{Kind, Outcome, Owner, Reply};
use super::verdict::{self, Assignment, BoundArg, Question};
use super::{Portal, Prepared, Reserved, Session, ours};
use crate::context::{Effect, Message, Value};
use crate::wire::frame::{HEADER_LEN, Header};
use crate::wire::frontend::{self, BindNames};
use crate::wire::response::{Response, Severity, sqlstate};

impl Session {
    pub(super) fn on_parse(&mut self, header: Header, body: &[u8], edit: &mut Edit<'_>) -> Step {
        if self.dialect_is_uncertain() {
            return Step::Wait;
        }
        let outcome = match frontend::Parse::read(body) {
            Ok(parse) => {
                let verdict = self.verdict(parse.text);
                self.note_dialect(&verdict);
                self.warn_of_problems(&verdict);
                let prepared = Prepared {
                    verdict,
                    index: 0,
                    is_sql_level: false,
                    group: self.group,
                    was_executed: false.into(),
                };
                self.statements
                    .send(parse.statement, Some(Arc::new(prepared)), self.group);
                Some(Outcome::Statement)
            }
            Err(_) => None,
        };
        self.sent(Reply {
            owner: Owner::Client,
            kind: Kind::Parse,
            outcome,
        });
        self.forward(header, edit)
    }

    pub(super) fn verdict(&self, text: &[u8]) -> Arc<super::Verdict> {
        self.verdicts.get(text, self.dialect)
    }

    /// A text that may change how the next ones are read was sent.
    pub(super) fn note_dialect(&mut self, verdict: &super::Verdict) {
        self.dialect_may_change |= verdict.may_change_dialect();
    }

    /// Whether a complete group in flight may change how texts are read: a text cut at the wrong places would be
    /// changed at the wrong places.
    pub(super) fn dialect_is_uncertain(&self) -> bool {
        self.dialect_may_change && self.replies.has_closed_groups()
    }

    pub(super) fn warn_of_problems(&mut self, verdict: &super::Verdict) {
        for problem in verdict
            .statements()
            .iter()
            .flat_map(|statement| statement.problems.iter())
        {
            self.warn(Response::new(
                Severity::Warning,
                sqlstate::WARNING,
                problem.clone(),
            ));
        }
    }

    /// Only the names at the front of a Bind matter, unless one of its parameters is a context.
    pub(super) fn on_bind(&mut self, header: Header, edit: &mut Edit<'_>) -> Step {
        let rest = edit.rest();
        let is_whole = rest.len() >= header.frame_len;
        let limit = self.policy.max_inspected_message_bytes;
        let is_oversized = header.frame_len > limit;
        // Names beyond the limit are not looked for, whether or not they happen to be there already.
        let end = header.frame_len.min(limit);
        let body = rest.get(HEADER_LEN..end.min(rest.len())).unwrap_or_default();
        let Some(names) = BindNames::peek(body) else {
            if rest.len() >= end {
                self.sent(Reply::client(Kind::Bind));
                return self.forward(header, edit);
            }
            return Step::NeedMore;
        };
        if self.statements.is_uncertain(names.statement, self.group) {
            return Step::Wait;
        }
        let prepared = self.statements.get(names.statement).map(Arc::clone);
        // What a PREPARE prepared is not what its own text assigns.
        let assignment = match prepared
            .as_ref()
            .filter(|prepared| !prepared.is_sql_level)
            .and_then(|prepared| prepared.verdict.assignment(0))
        {
            Some(Assignment::Bound(_)) if is_oversized => Some(Assignment::Ask(Question::Whether(None))),
            Some(Assignment::Bound(_)) if !is_whole => return Step::NeedMore,
            Some(Assignment::Bound(call)) => {
                verdict::resolve(call, self.policy.rules.max_context_bytes, |number| {
                    self.bound(body, number)
                })
            }
            Some(other) => Some(other.clone()),
            None => None,
        };
        let portal = prepared.map(|prepared| Portal {
            prepared,
            assignment: assignment.map(Arc::new),
            was_started: false.into(),
        });
        self.portals.send(names.portal, portal, self.group);
        self.sent(Reply {
            owner: Owner::Client,
            kind: Kind::Bind,
            outcome: Some(Outcome::Portal),
        });
        self.forward(header, edit)
    }

    /// A parameter as `set_config` will read it. The binary form of a text is the text; of a boolean, one byte.
    fn bound(&self, body: &[u8], number: u16) -> BoundArg {
        match frontend::bind_parameter(body, number) {
            Ok(Some(parameter)) => match (parameter.value, parameter.binary) {
                (None, _) => BoundArg::Null,
                (Some([0]), true) => BoundArg::Text("false".into()),
                (Some([1]), true) => BoundArg::Text("true".into()),
                (Some(text), _) => BoundArg::Text(self.dialect.encoding.decode(text).into_owned()),
            },
            Ok(None) | Err(_) => BoundArg::Unknown,
        }
    }

    pub(super) fn on_execute(&mut self, header: Header, body: &[u8], edit: &mut Edit<'_>) -> Step {
        let name = frontend::execute(body).ok();
        if name.is_some_and(|name| self.portals.is_uncertain(name, self.group)) {
            return Step::Wait;
        }
        let Some(portal) = name.and_then(|name| self.portals.get(name)).cloned() else {
            self.sent(Reply::client(Kind::Execute));
            return self.forward(header, edit);
        };
        if portal.was_started.get() {
            return self.continue_execution(&portal, header, edit);
        }
        if self.executes_uncertain(&portal.prepared.verdict) || self.execution_must_wait(&portal.prepared) {
            return Step::Wait;
        }
        match self.plan_execution(&portal.prepared) {
            Plan::Nothing => {}
            Plan::Emit(payload) => self.emit(payload, edit.insert()),
            Plan::EmitOnServer(sql) => self.emit_on_server(&sql, edit.insert()),
        }
        if let Some(portal) = name.and_then(|name| self.portals.get(name)) {
            portal.was_started.set(true);
        }
        portal.prepared.was_executed.store(true, Ordering::Relaxed);
        if portal.prepared.verdict.mentions_prepared_statements() {
            self.hide_reserved(edit);
        }
        self.execute(&portal, header, edit)
    }

    /// The next rows of a portal: a write has written, but a `set_config` runs once per row.
    fn continue_execution(&mut self, portal: &Portal, header: Header, edit: &mut Edit<'_>) -> Step {
        self.sent(Reply::client(Kind::Execute));
        self.pass(edit, header.frame_len);
        if let Some(question) = self.question_of_portal(portal) {
            self.probe(question.again(), edit.insert());
        }
        Step::Done
    }

    /// Forwards the Execute, with what must stand before and behind it because of what it does to the setting.
    fn execute(&mut self, portal: &Portal, header: Header, edit: &mut Edit<'_>) -> Step {
        if let Some(Assignment::Refused(refusal)) = portal.assignment.as_deref() {
            self.refuse(refusal, edit.insert());
        }
        let question = self.question_of_portal(portal);
        if let Some(sql) = question.and_then(|_| self.restore_sql()) {
            self.once(Owner::Housekeeping, &sql, None, edit.insert());
        }
        let assigned = portal.assignment.as_deref().and_then(Assignment::effect);
        let prepared = &portal.prepared;
        let outcome = match assigned {
            Some(effect) => Some(Outcome::Timeline(effect)),
            None if prepared.is_sql_level => None,
            None => self.outcome_of(&prepared.verdict, prepared.index),
        };
        self.sent(Reply {
            owner: Owner::Client,
            kind: Kind::Execute,
            outcome,
        });
        // The frame is whole here, so what is inserted next stands behind it.
        self.pass(edit, header.frame_len);
        if let Some(question) = question {
            self.probe(question, edit.insert());
        }
        Step::Done
    }

    fn question_of_portal(&self, portal: &Portal) -> Option<Question> {
        let prepared = &portal.prepared;
        match portal.assignment.as_deref() {
            Some(Assignment::Ask(question)) => Some(*question),
            Some(_) => None,
            None if prepared.is_sql_level => prepared.question(),
            None => self.question(&prepared.verdict, prepared.index),
        }
    }

    fn plan_execution(&self, prepared: &Arc<Prepared>) -> Plan {
        let Some(statement) = prepared.statement() else {
            return Plan::Nothing;
        };
        let comment_of = |prepared: &'_ Arc<Prepared>| self.comments_count(prepared);
        let own = prepared.comment().filter(|_| comment_of(prepared));
        match self.writes(statement) {
            Writes::No => Plan::Nothing,
            Writes::Itself => self.plan(&Write {
                verdict: &prepared.verdict,
                index: prepared.index,
                targets: &statement.targets,
                comments: [own, None],
            }),
            Writes::Executes(inner) => self.plan(&Write {
                verdict: &prepared.verdict,
                index: prepared.index,
                targets: inner.statement().map_or(&[], |statement| &statement.targets),
                comments: [inner.comment().filter(|_| comment_of(&inner)), own],
            }),
        }
    }

    /// Puts a message ahead of the Execute, in the client's own group.
    fn emit(&mut self, payload: Message, out: &mut Vec<u8>) {
        let is_prepared = match self.reserved {
            Reserved::Ready => true,
            Reserved::Sent { group, .. } => group == self.group,
            Reserved::Absent | Reserved::Unsure => false,
        };
        if !is_prepared {
            ours::write_prepare(out);
            self.times_prepared += 1;
            let serial = self.times_prepared;
            self.ask(Owner::Housekeeping, Kind::Close, None);
            self.ask(
                Owner::Housekeeping,
                Kind::Parse,
                Some(Outcome::Prepared { serial }),
            );
            let group = self.group;
            self.reserved = Reserved::Sent { group, serial };
        }
        ours::write_emit(out, &payload);
        self.ask(Owner::Message, Kind::Bind, None);
        self.ask(
            Owner::Message,
            Kind::Execute,
            Some(Outcome::Timeline(Effect::Emitted(payload))),
        );
        self.ask(Owner::Housekeeping, Kind::Close, None);
    }

    fn emit_on_server(&mut self, sql: &str, out: &mut Vec<u8>) {
        let emitted = Effect::Emitted(Message::default());
        self.once(Owner::Message, sql, Some(Outcome::Timeline(emitted)), out);
    }

    fn refuse(&mut self, refusal: &Refusal, out: &mut Vec<u8>) {
        self.counters.refusals += 1;
        self.once(Owner::Refusal(Box::new(refusal.clone())), FAILING_SQL, None, out);
    }

    fn probe(&mut self, question: Question, out: &mut Vec<u8>) {
        let sql = ours::probe_sql(self.policy.rules.max_context_bytes);
        self.once(Owner::Probe, &sql, Some(probed(question)), out);
    }

    /// Runs a statement of ours in the client's group; errors of any of its messages are the owner's.
    fn once(&mut self, owner: Owner, sql: &str, outcome: Option<Outcome>, out: &mut Vec<u8>) {
        ours::write_once(out, sql);
        self.ask(Owner::Housekeeping, Kind::Close, None);
        self.ask(owner.clone(), Kind::Parse, None);
        self.ask(owner.clone(), Kind::Bind, None);
        self.ask(Owner::Housekeeping, Kind::Close, None);
        self.ask(owner, Kind::Execute, outcome);
        self.ask(Owner::Housekeeping, Kind::Close, None);
    }

    fn ask(&mut self, owner: Owner, kind: Kind, outcome: Option<Outcome>) {
        self.sent(Reply { owner, kind, outcome });
    }
}

/// What follows from a probe: the setting has a value, which the row will tell.
pub(super) fn probed(question: Question) -> Outcome {
    let found = Value::OnServer;
    match question {
        Question::Value(scope) => Outcome::Timeline(Effect::Set(scope, found)),
        Question::Whether(scope) => Outcome::MaybeSet { scope, found },
    }
}
