//! Speaks a script, to the proxy or to the server itself, and writes down what comes back.
//!
//! The protocol does not say how many messages answer a Flush, so the awaited replies are counted, and after an error
//! those that the server skips are not awaited any more ("Pipelining" in the manual's chapter on the protocol).

use std::collections::VecDeque;
use std::fmt;
use std::io;

use bemi::wire::backend::tag;
use bemi::wire::frame::{write_frame, write_string};
use bemi::wire::frontend;
use bemi::wire::response::{field, field_of};

use super::script::{Message, Refusal, Script, Sql, Step};
use super::support::raw::{Frame, RawClient};

/// Whom a script is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Proxy,
    /// The server: what the proxy refuses by design has to fail here as well, by other means.
    Server,
}

/// What a client reads.
#[derive(Clone, PartialEq, Eq)]
pub enum Heard {
    Frame(Frame),
    /// A value of `bemi.context` was refused; only the code is the same on both sides.
    Refused(String),
    /// The connection broke, or nothing came any more.
    Ended(io::ErrorKind),
}

/// Fails on the server as a refused value does in the proxy.
const FAIL: &str = "SELECT set_config('client_min_messages', 'bemi', true)";

/// Of the statement and portal that run [`FAIL`].
const REFEREE: &str = "referee";

/// A message that the server has yet to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// A message of the extended protocol.
    Reply,
    /// The same, of the referee's.
    Referee(Refusal),
    /// Up to ReadyForQuery, if not skipped after an error; the referee is in its text.
    Query(Option<Refusal>),
    /// Up to ReadyForQuery, in any case.
    Sync,
}

pub struct Conversation {
    client: RawClient,
    side: Side,
    awaited: VecDeque<Awaited>,
    /// After an error the server ignores everything up to the next Sync, which was not sent yet.
    is_skipping: bool,
}

impl Conversation {
    pub fn new(client: RawClient, side: Side) -> Self {
        Self {
            client,
            side,
            awaited: VecDeque::new(),
            is_skipping: false,
        }
    }

    /// Speaks all of it; one list per step. A broken connection ends the last one.
    pub fn speak(&mut self, script: &Script) -> Vec<Vec<Heard>> {
        let mut transcript = Vec::new();
        for step in &script.steps {
            let mut heard = Vec::new();
            let spoken = self.step(step, &mut heard);
            let has_ended = spoken.is_err();
            heard.extend(spoken.err().map(|error| match error.kind() {
                // Which of these it is depends on what was still on its way.
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    Heard::Ended(io::ErrorKind::UnexpectedEof)
                }
                kind => Heard::Ended(kind),
            }));
            transcript.push(heard);
            if has_ended {
                break;
            }
        }
        transcript
    }

    fn step(&mut self, step: &Step, heard: &mut Vec<Heard>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for message in &step.messages {
            self.encode(message, &mut bytes);
        }
        let asks_for_replies = matches!(
            step.messages.last(),
            Some(Message::Query(_) | Message::Sync | Message::Flush)
        );
        if !asks_for_replies {
            self.encode(&Message::Flush, &mut bytes);
        }
        for chunk in bytes.chunks(step.chunk.unwrap_or(usize::MAX)) {
            self.client.write(chunk)?;
        }
        while !self.awaited.is_empty() {
            let frame = self.client.frame()?;
            self.hear(frame, heard);
        }
        Ok(())
    }

    fn encode(&mut self, message: &Message, out: &mut Vec<u8>) {
        match message {
            Message::Query(statements) => {
                let refusals = statements.iter().filter_map(|sql| sql.refusal);
                self.expect(Awaited::Query(refusals.take(1).next()));
                frontend::write_query(out, self.text(statements).as_bytes());
            }
            Message::Parse { name, sql } => {
                self.expect(Awaited::Reply);
                frontend::write_parse(out, name, sql, &[]);
            }
            Message::Bind {
                portal,
                statement,
                parameters,
            } => {
                self.expect(Awaited::Reply);
                write_bind(out, portal, statement, parameters);
            }
            Message::DescribeStatement(name) => self.describe(b'S', name, out),
            Message::DescribePortal(name) => self.describe(b'P', name, out),
            Message::Execute {
                portal,
                rows,
                refusal,
            } => {
                let is_server = self.side == Side::Server;
                if is_server && *refusal == Some(Refusal::Instead) {
                    self.fail(Refusal::Instead, out);
                }
                self.expect(Awaited::Reply);
                write_execute(out, portal, *rows);
                if is_server && *refusal == Some(Refusal::Behind) {
                    self.fail(Refusal::Behind, out);
                }
            }
            Message::CloseStatement(name) => {
                self.expect(Awaited::Reply);
                frontend::write_close(out, frontend::Named::Statement(name.as_bytes()));
            }
            Message::ClosePortal(name) => {
                self.expect(Awaited::Reply);
                frontend::write_close(out, frontend::Named::Portal(name.as_bytes()));
            }
            Message::CopyData(data) => write_frame(out, frontend::tag::COPY_DATA, |body| {
                body.extend_from_slice(data.as_bytes());
            }),
            Message::CopyDone => write_frame(out, frontend::tag::COPY_DONE, |_| ()),
            Message::CopyFail => write_frame(out, frontend::tag::COPY_FAIL, |body| {
                write_string(body, b"the client has had enough");
            }),
            Message::Flush => write_frame(out, frontend::tag::FLUSH, |_| ()),
            Message::Sync => {
                self.is_skipping = false;
                self.awaited.push_back(Awaited::Sync);
                frontend::write_sync(out);
            }
        }
    }

    fn describe(&mut self, kind: u8, name: &str, out: &mut Vec<u8>) {
        self.expect(Awaited::Reply);
        write_frame(out, frontend::tag::DESCRIBE, |body| {
            body.push(kind);
            write_string(body, name.as_bytes());
        });
    }

    fn text(&self, statements: &[Sql]) -> String {
        let mut texts = Vec::new();
        for statement in statements {
            let refusal = statement.refusal.filter(|_| self.side == Side::Server);
            texts.extend((refusal == Some(Refusal::Instead)).then_some(FAIL));
            texts.push(&statement.text);
            texts.extend((refusal == Some(Refusal::Behind)).then_some(FAIL));
        }
        texts.join("; ")
    }

    /// A failure of the referee's own, in the client's group.
    fn fail(&mut self, refusal: Refusal, out: &mut Vec<u8>) {
        frontend::write_close(out, frontend::Named::Statement(REFEREE.as_bytes()));
        frontend::write_parse(out, REFEREE, FAIL, &[]);
        frontend::write_bind(out, REFEREE, REFEREE, &[]);
        frontend::write_execute(out, REFEREE);
        (0..4).for_each(|_| self.expect(Awaited::Referee(refusal)));
    }

    fn expect(&mut self, awaited: Awaited) {
        if !self.is_skipping {
            self.awaited.push_back(awaited);
        }
    }

    fn hear(&mut self, frame: Frame, heard: &mut Vec<Heard>) {
        let front = self.awaited.front().copied();
        let is_of_query = matches!(front, Some(Awaited::Query(_)));
        match frame.tag {
            tag::PARSE_COMPLETE
            | tag::BIND_COMPLETE
            | tag::CLOSE_COMPLETE
            | tag::NO_DATA
            | tag::PORTAL_SUSPENDED => self.answered(),
            // Of an Execute, it is the end; of a Query, one statement's.
            tag::COMMAND_COMPLETE | tag::EMPTY_QUERY_RESPONSE if !is_of_query => self.answered(),
            // A Describe ends with it; a Query's rows begin with it.
            tag::ROW_DESCRIPTION if !is_of_query => self.answered(),
            tag::READY_FOR_QUERY => self.answered(),
            tag::ERROR_RESPONSE => self.failed(),
            _ => {}
        }
        if matches!(front, Some(Awaited::Referee(_))) && frame.tag != tag::ERROR_RESPONSE {
            return;
        }
        match refusal(&frame) {
            None => heard.push(Heard::Frame(frame)),
            Some(code) => {
                if self.side == Side::Server {
                    take_back(front, heard);
                }
                heard.push(Heard::Refused(code));
            }
        }
    }

    fn answered(&mut self) {
        self.awaited.pop_front();
    }

    fn failed(&mut self) {
        if !matches!(self.awaited.front(), Some(Awaited::Reply | Awaited::Referee(_))) {
            return;
        }
        while self.awaited.front().is_some_and(|front| *front != Awaited::Sync) {
            self.awaited.pop_front();
        }
        self.is_skipping = self.awaited.is_empty();
    }
}

/// Takes back what the server said of the statement that the referee had fail, up to its error.
fn take_back(awaited: Option<Awaited>, heard: &mut Vec<Heard>) {
    let is = |tags: &'static [u8]| move |heard: &mut Heard| matches!(heard, Heard::Frame(frame) if tags.contains(&frame.tag));
    if matches!(awaited, Some(Awaited::Query(_))) {
        heard.pop_if(is(&[tag::ROW_DESCRIPTION]));
    }
    if let Some(Awaited::Query(Some(Refusal::Behind)) | Awaited::Referee(Refusal::Behind)) = awaited {
        heard.pop_if(is(&[tag::COMMAND_COMPLETE, tag::PORTAL_SUSPENDED]));
    }
}

/// The code of an error that says that a value is no context, in the proxy's words or the referee's.
fn refusal(frame: &Frame) -> Option<String> {
    if frame.tag != tag::ERROR_RESPONSE {
        return None;
    }
    let text = |code| -> Option<String> {
        let text = field_of(&frame.body, code).ok()??;
        String::from_utf8(text.to_vec()).ok()
    };
    let message = text(field::MESSAGE)?;
    let is_refusal = message.starts_with("invalid value for parameter \"bemi.context\"")
        || message == "invalid value for parameter \"client_min_messages\": \"bemi\"";
    is_refusal.then(|| text(field::SQLSTATE)).flatten()
}

fn write_bind(out: &mut Vec<u8>, portal: &str, statement: &str, parameters: &[Option<String>]) {
    write_frame(out, frontend::tag::BIND, |body| {
        write_string(body, portal.as_bytes());
        write_string(body, statement.as_bytes());
        body.extend_from_slice(&0_u16.to_be_bytes());
        body.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
        for value in parameters {
            match value {
                None => body.extend_from_slice(&(-1_i32).to_be_bytes()),
                Some(value) => {
                    body.extend_from_slice(&(value.len() as i32).to_be_bytes());
                    body.extend_from_slice(value.as_bytes());
                }
            }
        }
        body.extend_from_slice(&0_u16.to_be_bytes());
    });
}

fn write_execute(out: &mut Vec<u8>, portal: &str, rows: i32) {
    write_frame(out, frontend::tag::EXECUTE, |body| {
        write_string(body, portal.as_bytes());
        body.extend_from_slice(&rows.to_be_bytes());
    });
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(frame) => write!(f, "{} {}", char::from(frame.tag), frame.body.escape_ascii()),
            Self::Refused(code) => write!(f, "E refused with {code}"),
            Self::Ended(kind) => write!(f, "the end: {kind}"),
        }
    }
}
