//! What sessions had in them, counted, so that nothing is tested only in name.

use std::collections::BTreeMap;
use std::fmt;

use bemi::wire::response::{field, field_of};

use super::message::{name, server_name};
use super::session::{Act, Session};
use super::stage::{Held, Logged};

#[derive(Default)]
pub struct Coverage {
    sessions: u64,
    compared: u64,
    counts: BTreeMap<String, u64>,
    logged: Logged,
}

/// What has to come up in any run of some length: what is said, what comes back, which errors and notices.
/// MERGE and NegotiateProtocolVersion are not among it, since not every server has them.
const REQUIRED: &[&str] = &include!("required.in");

impl Coverage {
    pub fn count(&mut self, session: &Session, held: &Held) {
        self.sessions += 1;
        self.compared += held.heard.frames.len() as u64;
        for label in session.labels() {
            self.see(label.to_owned());
        }
        for act in &session.acts {
            if let Act::Say(said) = act {
                self.see(format!("sent {}", name(said.bytes.first().copied().unwrap_or(0))));
            }
        }
        for frame in &held.heard.frames {
            self.see(format!("got {}", server_name(frame.tag)));
            match frame.tag {
                b'Z' => self.see(format!("status {}", frame.body.escape_ascii())),
                b'E' | b'N' => self.see_fields(frame.tag, &frame.body),
                _ => {}
            }
        }
    }

    fn see_fields(&mut self, tag: u8, body: &[u8]) {
        let kind = if tag == b'E' { "error" } else { "notice" };
        let read = |code| field_of(body, code).ok().flatten();
        if let Some(state) = read(field::SQLSTATE) {
            self.see(format!("{kind} {}", state.escape_ascii()));
        }
        if read(field::POSITION).is_some() {
            self.see(format!("{kind} with a position"));
        }
    }

    fn see(&mut self, what: String) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn count_logged(&mut self, logged: Logged) {
        self.logged.messages += logged.messages;
        self.logged.rows += logged.rows;
        self.logged.rows_with_context += logged.rows_with_context;
    }

    pub fn add(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.compared += other.compared;
        for (what, times) in other.counts {
            *self.counts.entry(what).or_default() += times;
        }
        self.count_logged(other.logged);
    }

    /// Fails where something was never exercised.
    pub fn assert_complete(&self) {
        let missing: Vec<_> = REQUIRED
            .iter()
            .filter(|what| !self.counts.contains_key(**what))
            .collect();
        assert!(missing.is_empty(), "never exercised: {missing:#?}");
        let Logged {
            messages,
            rows,
            rows_with_context,
        } = self.logged;
        assert!(
            messages > self.sessions / 2,
            "{messages} messages in the log of {} sessions",
            self.sessions
        );
        assert!(
            rows_with_context * 10 > rows * 8,
            "of {rows} rows in the log {rows_with_context} have a context"
        );
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, times) in &self.counts {
            writeln!(f, "{times:>9}  {what}")?;
        }
        let Logged {
            messages,
            rows,
            rows_with_context,
        } = self.logged;
        writeln!(
            f,
            "{} sessions, {} messages compared",
            self.sessions, self.compared
        )?;
        write!(
            f,
            "in the log behind the proxy: {messages} messages, {rows} rows, {rows_with_context} of them with context"
        )
    }
}
