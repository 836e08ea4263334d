//! Any bytes from both sides through the session core, in any order and cut anywhere.

use std::sync::{Arc, LazyLock};

use bemi::config::{CommentReuse, Config, Pooler, SqlText};
use bemi::context::Context;
use bemi::session::edit::Edit;
use bemi::session::{Client, Policy, Progress, Session, VerdictCache};
use bemi::sql::cache::Limits;
use bemi::wire::frame::write_frame;
use bemi::wire::frontend::{self, Named};

use super::Target;
use super::input::{Input, chunks};

/// The session core between a client and a server that may say anything at all.
pub const SESSION: Target = Target {
    name: "session",
    run: session,
    seeds: &[
        b"\0\0\0\x01\x01\x10\x10\0\0\x10\x0f\0\0\x0c",
        b"\x01\0\0\0\x02\x01\x03\0\x04\0\x07\x10\x01\x02\x05\x01",
    ],
};

fn session(data: &[u8]) {
    let mut input = Input::new(data);
    let (policy, startup) = setting(input.byte(), &mut input);
    let cuts = input.bytes(8);
    let script = script(&mut input);
    let whole = play(&policy, startup.clone(), &script, &[u8::MAX]);
    let cut = play(&policy, startup.clone(), &script, cuts);
    assert_eq!(whole.to_server, cut.to_server, "to the server, cut at {cuts:?}");
    assert_eq!(whole.to_client, cut.to_client, "to the client, cut at {cuts:?}");
    if startup.is_none() && policy.fixed.is_empty() && says_nothing(&script) {
        for played in [whole, cut] {
            let (client, server) = (sent(&script, true), sent(&script, false));
            assert_eq!([played.to_server, played.client].concat(), client);
            if played.has_ended {
                assert!(server.starts_with(&played.to_client));
            } else {
                assert_eq!([played.to_client, played.server].concat(), server);
            }
        }
    }
}

/// With it, messages are soon too long to be looked into.
pub const SHORT_MESSAGES: u8 = 8;

/// A policy, and the context of the startup packet.
pub fn setting(choice: u8, input: &mut Input<'_>) -> (Arc<Policy>, Option<Arc<Context>>) {
    static DEFAULTS: LazyLock<Config> =
        LazyLock::new(|| Config::new("postgresql://localhost/".parse().expect("a URL")));
    let context = Context::parse(r#"{"u":1}"#, 100)
        .expect("a context")
        .map(Arc::new);
    let mut config = DEFAULTS.clone();
    if choice & 1 != 0 {
        config.context.fixed = context
            .iter()
            .flat_map(|context| context.entries().clone())
            .collect();
    }
    if choice & 4 != 0 {
        config.upstream.pooler = Pooler::Transaction;
    }
    if choice & SHORT_MESSAGES != 0 {
        config.limits.max_inspected_message_bytes = 64;
    }
    if choice & 16 != 0 {
        config.limits.max_pending_replies = 4;
    }
    config.inject.sql = match choice >> 5 & 3 {
        0 => SqlText::Full,
        1 => SqlText::Normalized,
        _ => SqlText::Off,
    };
    config.comments.reuse = input.pick(&[CommentReuse::Every, CommentReuse::First, CommentReuse::SameSync]);
    (
        Arc::new(Policy::new(&config)),
        context.filter(|_| choice & 2 != 0),
    )
}

/// A session, the bytes that wait on either side, and those that went through.
pub struct Pump {
    session: Session,
    pub client: Vec<u8>,
    pub server: Vec<u8>,
    pub to_client: Vec<u8>,
    pub to_server: Vec<u8>,
    pub waits: bool,
    pub has_ended: bool,
    scratch: Vec<u8>,
}

impl Pump {
    pub fn new(policy: &Arc<Policy>, startup: Option<Arc<Context>>) -> Self {
        let few = Limits {
            entries: 2,
            bytes: 1 << 16,
            text_bytes: 128,
        };
        let verdicts = VerdictCache::new(policy.rules.clone(), few);
        Self {
            session: Session::new(Arc::clone(policy), Arc::new(verdicts), Client::default(), startup),
            client: Vec::new(),
            server: Vec::new(),
            to_client: Vec::new(),
            to_server: Vec::new(),
            waits: false,
            has_ended: false,
            scratch: Vec::new(),
        }
    }

    pub fn hear_client(&mut self, bytes: &[u8]) {
        self.client.extend_from_slice(bytes);
        if !self.waits && !self.has_ended {
            self.decide_on_client();
        }
    }

    fn decide_on_client(&mut self) {
        let mut edit = Edit::new(&self.client, &mut self.scratch);
        self.waits = self.session.on_client(&mut edit) == Progress::Wait;
        assert!(
            !(self.waits && self.session.is_idle()),
            "a client waits for a server that owes nothing"
        );
        let consumed = edit.consumed();
        self.to_server.extend_from_slice(edit.finish());
        self.client.drain(..consumed);
    }

    pub fn hear_server(&mut self, bytes: &[u8]) {
        if self.has_ended {
            return;
        }
        self.server.extend_from_slice(bytes);
        let mut edit = Edit::new(&self.server, &mut self.scratch);
        self.has_ended = self.session.on_server(&mut edit).is_err();
        let consumed = edit.consumed();
        self.to_client.extend_from_slice(edit.finish());
        self.server.drain(..consumed);
    }

    /// To be called when the server has spoken: a client that waits may go on.
    pub fn retry_client(&mut self) {
        if self.waits && !self.has_ended {
            self.decide_on_client();
        }
    }
}

/// What one side sends in one go.
struct Turn {
    is_client: bool,
    bytes: Vec<u8>,
}

fn sent(script: &[Turn], is_client: bool) -> Vec<u8> {
    let turns = script.iter().filter(|turn| turn.is_client == is_client);
    turns.flat_map(|turn| turn.bytes.iter().copied()).collect()
}

/// When a client that waits is asked again depends on how the server's bytes are cut, and with it, rightly, what is
/// put ahead of its writes; so here it is asked when the server's turn is over.
fn play(policy: &Arc<Policy>, startup: Option<Arc<Context>>, script: &[Turn], cuts: &[u8]) -> Pump {
    let mut pump = Pump::new(policy, startup);
    for turn in script {
        for chunk in chunks(&turn.bytes, cuts) {
            if turn.is_client {
                pump.hear_client(chunk);
            } else {
                pump.hear_server(chunk);
            }
        }
        pump.retry_client();
    }
    pump
}

/// Whether no word of the client can be context, or a way to set it.
fn says_nothing(script: &[Turn]) -> bool {
    let said = sent(script, true).to_ascii_lowercase();
    let has = |word: &str| said.windows(word.len()).any(|part| part == word.as_bytes());
    !["bemi", "set_config", "/*", "u&"].into_iter().any(has)
}

fn script(input: &mut Input<'_>) -> Vec<Turn> {
    let mut script = Vec::new();
    while !input.is_empty() && script.len() < 64 {
        let choice = input.byte();
        let is_client = choice & 1 == 0;
        let mut bytes = Vec::new();
        for _ in 0..=usize::from(choice >> 1 & 7) {
            if is_client {
                client_frame(input, &mut bytes);
            } else {
                server_frame(input, &mut bytes);
            }
        }
        script.push(Turn { is_client, bytes });
    }
    script
}

const TEXTS: &[&str] = &[
    "INSERT INTO t VALUES (1)",
    "SELECT 1",
    "SET bemi.context = '{\"a\":1}'",
    "BEGIN",
    "ROLLBACK",
    "SELECT 1; INSERT INTO t VALUES (2); SELECT 2",
    "SET LOCAL bemi.context = 'nonsense'",
    "SELECT set_config('bemi.context', $1, true)",
    "SELECT set_config('bemi.context', upper('x'), false)",
    "COMMIT; SAVEPOINT s; ROLLBACK TO s",
    "COPY t FROM STDIN",
    "UPDATE t SET a = 1 /*Bemi {\"b\":2} Bemi*/",
    "DISCARD ALL",
    "PREPARE p AS DELETE FROM t",
    "EXECUTE p",
    "SELECT * FROM pg_prepared_statements",
    "DELETE FROM t /*Bemi nonsense Bemi*/",
    "",
];

const NAMES: &[&str] = &["", "s", "p", "_bemi"];

pub fn name<'a>(input: &mut Input<'_>) -> &'a str {
    input.pick(NAMES)
}

fn client_frame(input: &mut Input<'_>, out: &mut Vec<u8>) {
    match input.below(18) {
        0..=2 => frontend::write_query(out, input.pick(TEXTS).as_bytes()),
        3 | 4 => {
            let (name, text) = (name(input), input.pick(TEXTS));
            frontend::write_parse(out, name, text, &[]);
        }
        5 => {
            let (portal, statement) = (name(input), name(input));
            frontend::write_bind(out, portal, statement, &[input.bytes(20)]);
        }
        6 => {
            let (portal, statement) = (name(input), name(input));
            frontend::write_bind(out, portal, statement, &[br#"{"a":1}"#, b"t"]);
        }
        7 | 8 => frontend::write_execute(out, name(input)),
        9 => frontend::write_sync(out),
        10 => {
            let name = name(input).as_bytes();
            let what = if input.flag() {
                Named::Portal(name)
            } else {
                Named::Statement(name)
            };
            frontend::write_close(out, what);
        }
        11 => write_frame(out, b'D', |body| {
            body.extend_from_slice(if input.flag() { b"S" } else { b"P" });
            body.extend_from_slice(name(input).as_bytes());
            body.push(0);
        }),
        12 => write_frame(out, input.pick(b"HdcfFXp"), |body| {
            body.extend_from_slice(input.bytes(10))
        }),
        13 => frontend::write_query(out, input.bytes(255)),
        14 => write_frame(out, input.pick(b"QPBECDS"), |body| {
            body.extend_from_slice(input.bytes(30))
        }),
        15 => write_frame(out, input.byte(), |body| body.extend_from_slice(input.bytes(100))),
        16 => frontend::write_query(out, &[b"SELECT 1;--", input.bytes(100)].concat()),
        _ => out.extend_from_slice(input.bytes(12)),
    }
}

fn server_frame(input: &mut Input<'_>, out: &mut Vec<u8>) {
    let body: &[u8] = match input.below(16) {
        0 => return write_frame(out, b'Z', |body| body.push(input.pick(b"ITE"))),
        1..=3 => return write_frame(out, input.pick(b"123nIsc"), |_| ()),
        4 => input.pick(&[
            &b"INSERT 0 1\0"[..],
            b"SELECT 1\0",
            b"ROLLBACK\0",
            b"SET\0",
            b"BEGIN\0",
        ]),
        5 => input.pick(&[&b"\0\x01_bemi\0restrestrestrestre"[..], b"\0\x01x\0", b"\0\0"]),
        6 => input.pick(&[
            &b"\0\x01\0\0\0\x07{\"a\":1}"[..],
            b"\0\x01\xff\xff\xff\xff",
            b"\0\0",
        ]),
        7 => input.pick(&[
            &b"SERROR\0C22023\0Mm\0P30\0\0"[..],
            b"SERROR\0C42601\0Mm\0P3\0\0",
            b"SERROR\0",
        ]),
        8 => b"SNOTICE\0C00000\0Mm\0P3\0\0",
        9 => input.pick(&[
            &b"client_encoding\0SJIS\0"[..],
            b"client_encoding\0UTF8\0",
            b"standard_conforming_strings\0off\0",
            b"in_hot_standby\0on\0",
            b"application_name\0x\0",
        ]),
        10 => {
            return write_frame(out, input.pick(b"GHWVAKvRdtE"), |body| {
                body.extend_from_slice(input.bytes(9))
            });
        }
        11 => return write_frame(out, input.byte(), |body| body.extend_from_slice(input.bytes(100))),
        _ => return out.extend_from_slice(input.bytes(12)),
    };
    let tag = match body {
        [b'S', b'N', ..] => b'N',
        [b'S', b'E', ..] => b'E',
        [0, 1, 0xff, ..] | [0, 1, 0, ..] => b'D',
        [0, ..] => b'T',
        [b'a'..=b'z', ..] => b'S',
        _ => b'C',
    };
    write_frame(out, tag, |out| out.extend_from_slice(body));
}
