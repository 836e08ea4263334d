//! A client and a server that say the same things again and again, with a session in between.

use std::sync::Arc;

use bemi::config::Config;
use bemi::context::Context;
use bemi::session::edit::Edit;
use bemi::session::{Client, Policy, Progress, Session, VerdictCache};
use bemi::sql::cache::Limits;
use bemi::wire::backend::tag;
use bemi::wire::frame::write_frame;
use bemi::wire::frontend;

/// A session past its login.
pub struct Talk {
    session: Session,
    scratch: Vec<u8>,
}

/// What both sides say in one transaction.
pub struct Script {
    /// Said once, at the start, and the answer.
    preparation: [Vec<u8>; 2],
    request: Vec<u8>,
    /// To the first request, where our own statement is prepared.
    first_reply: Vec<u8>,
    reply: Vec<u8>,
    with_message: bool,
}

/// The bytes of what is written there.
pub fn message(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    message(|out| write_frame(out, tag, |out| out.extend_from_slice(body)))
}

fn frames(replies: &[(u8, &[u8])]) -> Vec<u8> {
    replies.iter().flat_map(|(tag, body)| frame(*tag, body)).collect()
}

const ROW: (u8, &[u8]) = (tag::DATA_ROW, b"\0\x01\0\0\0\x04abcd");
const READY: (u8, &[u8]) = (tag::READY_FOR_QUERY, b"I");
const BOUND: (u8, &[u8]) = (tag::BIND_COMPLETE, b"");
const CLOSED: (u8, &[u8]) = (tag::CLOSE_COMPLETE, b"");
const PARSED: (u8, &[u8]) = (tag::PARSE_COMPLETE, b"");
const COLUMN: (u8, &[u8]) = (
    tag::ROW_DESCRIPTION,
    b"\0\x01_bemi\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0",
);
const ONE_ROW: (u8, &[u8]) = (tag::COMMAND_COMPLETE, b"SELECT 1\0");

impl Script {
    /// Bind, Execute, Sync of a prepared statement; a message of ours is answered ahead of it if `with_message`.
    pub fn prepared(text: &str, with_message: bool) -> Self {
        let answer = [ROW, ONE_ROW, READY];
        // Ours is put between the client's Bind and its Execute.
        let ours = [BOUND, ROW, ONE_ROW, CLOSED];
        let (first_reply, reply) = if with_message {
            (
                frames(&[&[BOUND, CLOSED, PARSED], &ours[..], &answer].concat()),
                frames(&[&[BOUND], &ours[..], &answer].concat()),
            )
        } else {
            let reply = frames(&[&[BOUND], &answer[..]].concat());
            (reply.clone(), reply)
        };
        Self {
            preparation: [
                message(|out| {
                    frontend::write_parse(out, "s1", text, &[]);
                    frontend::write_sync(out);
                }),
                frames(&[PARSED, READY]),
            ],
            request: message(|out| {
                frontend::write_bind(out, "", "s1", &[b"4711", b"17", b"t"]);
                frontend::write_execute(out, "");
                frontend::write_sync(out);
            }),
            first_reply,
            reply,
            with_message,
        }
    }

    /// The same as a Query.
    pub fn simple(text: &str, with_message: bool) -> Self {
        let answer = [COLUMN, ROW, ONE_ROW];
        let ours = if with_message { &answer[..] } else { &[] };
        let reply = frames(&[ours, &answer, &[READY]].concat());
        Self {
            preparation: Default::default(),
            request: message(|out| frontend::write_query(out, text.as_bytes())),
            first_reply: reply.clone(),
            reply,
            with_message,
        }
    }
}

impl Talk {
    /// A session that starts with this context.
    pub fn new(context: Option<&str>) -> Self {
        let url = "postgresql://localhost/".parse().expect("a URL");
        let policy = Arc::new(Policy::new(&Config::new(url)));
        let verdicts = Arc::new(VerdictCache::new(policy.rules.clone(), Limits::default()));
        let startup = context.map(|text| Context::parse(text, 1000).expect("an object").expect("a context"));
        let mut talk = Self {
            session: Session::new(policy, verdicts, Client::default(), startup.map(Arc::new)),
            scratch: Vec::new(),
        };
        talk.server(&frames(&[(tag::AUTHENTICATION, &[0; 4]), READY]));
        talk
    }

    /// Prepares what a script needs, and runs it once.
    ///
    /// # Panics
    /// When a message is written that the script does not expect, or none that it does.
    pub fn rehearse(&mut self, script: &Script) {
        let [preparation, prepared] = &script.preparation;
        for (said, answered) in [(preparation, prepared), (&script.request, &script.first_reply)] {
            self.client(said);
            self.server(answered);
        }
        let messages = u64::from(script.with_message);
        assert_eq!(self.session.counters().contextualised, messages);
    }

    /// One transaction.
    pub fn run(&mut self, script: &Script) {
        self.client(&script.request);
        self.server(&script.reply);
        assert!(self.session.is_idle());
    }

    /// Bytes of the client. Returns how many go out.
    ///
    /// # Panics
    /// When they are not all decided on.
    pub fn client(&mut self, bytes: &[u8]) -> usize {
        let mut edit = Edit::new(bytes, &mut self.scratch);
        assert_eq!(self.session.on_client(&mut edit), Progress::NeedMore);
        edit.finish().len()
    }

    /// Bytes of the server. Returns how many go out.
    ///
    /// # Panics
    /// When they answer nothing that was asked.
    pub fn server(&mut self, bytes: &[u8]) -> usize {
        let mut edit = Edit::new(bytes, &mut self.scratch);
        self.session.on_server(&mut edit).expect("an answer");
        edit.finish().len()
    }
}
