//! A client sees through the session what it would see without it.
//!
//! The same messages go to a model of the server twice, directly and through a session with context. Whatever the
//! session puts in, wherever the stream is cut, and however far the server lags behind, the client must read the same
//! bytes, and nobody may wait for ever.

use bemi::wire::frame::{HEADER_LEN, Header, write_frame};
use bemi::wire::frontend::{self, Named};

use super::Target;
use super::input::{Input, chunks};
use super::model::Model;
use super::session::{Pump, SHORT_MESSAGES, setting};

/// Well-formed messages in any order, against a server that answers as PostgreSQL does.
pub const TRANSPARENT: Target = Target {
    name: "transparent",
    run: transparent,
    seeds: &[
        // Syncs behind a COPY, while few replies may be pending.
        b"\x17U\x19\xb5\xa3\xd5\xa9\x16\xe2U\xe4\t\xc6\x19j\x99\x95\xff",
        b"\x02\0\x20\0\0\0\x01\0\x02\0\0",
        b"\x03\0\x03\x04\0\x05\0\0\x07\0\x09\x04\0\x06\x05\0\0\x07\0\x09",
    ],
};

fn transparent(data: &[u8]) {
    let mut input = Input::new(data);
    let (policy, startup) = setting(input.byte() & !SHORT_MESSAGES, &mut input);
    let cut = input.byte();
    let lags = input.flag();
    let mut direct = Model::new();
    let mut server = Model::new();
    let mut pump = Pump::new(&policy, startup);
    let mut expected = direct.feed(b"");
    let mut story = Vec::new();
    while !input.is_empty() && story.len() < 64 {
        let mut frame = Vec::new();
        story.push(client_frame(&mut input, &mut frame));
        expected.extend(direct.feed(&frame));
        for chunk in chunks(&frame, &[cut]) {
            pump.hear_client(chunk);
        }
        if !lags || input.flag() {
            answer(&mut pump, &mut server, cut);
        }
    }
    answer(&mut pump, &mut server, cut);
    assert!(!pump.has_ended, "out of step after {story:#?}");
    assert!(
        pump.client.is_empty() || server.is_closed,
        "waits for ever after {story:#?}"
    );
    let (seen, expected) = (frames(&pump.to_client), frames(&expected));
    let alike = seen.iter().zip(&expected).take_while(|(a, b)| a == b).count();
    assert!(
        seen == expected,
        "after {alike} frames the client reads {:#?} in place of {:#?}; it said {story:#?}",
        &seen[alike..],
        &expected[alike..]
    );
}

/// Whole frames in a form to be read by people; what is left at the end as if it were one.
fn frames(mut stream: &[u8]) -> Vec<String> {
    let mut frames = Vec::new();
    while !stream.is_empty() {
        let header = Header::read(stream).ok().flatten();
        let len = header.map_or(stream.len(), |header| header.frame_len.min(stream.len()));
        let (frame, rest) = stream.split_at(len);
        let body = frame.get(HEADER_LEN..).unwrap_or(frame);
        frames.push(format!("{} {}", frame[..1].escape_ascii(), body.escape_ascii()));
        stream = rest;
    }
    frames
}

/// Lets the server answer until nobody has anything more to say.
fn answer(pump: &mut Pump, server: &mut Model, cut: u8) {
    loop {
        let said = std::mem::take(&mut pump.to_server);
        let answer = server.feed(&said);
        for chunk in chunks(&answer, &[cut]) {
            pump.hear_server(chunk);
            pump.retry_client();
        }
        if answer.is_empty() && pump.to_server.is_empty() {
            return;
        }
    }
}

const TEXTS: &[&str] = &[
    "INSERT INTO t VALUES (1)",
    "SELECT 1",
    "SET bemi.context = '{\"a\":1}'",
    "BEGIN",
    "ROLLBACK",
    "COMMIT",
    "INSERT INTO t VALUES (fail)",
    "SELECT 1; INSERT INTO t VALUES (2); SELECT 2",
    "INSERT INTO é VALUES (notice); UPDATE t SET a = 'é'; DELETE FROM t WHERE fail",
    "SET LOCAL bemi.context = '{\"b\":2}'",
    "SELECT set_config('bemi.context', upper('x'), false)",
    "SELECT set_config('bemi.context', '{\"c\":3}', true); INSERT INTO t VALUES (3)",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "RELEASE s",
    "COPY t FROM STDIN",
    "INSERT INTO t VALUES (1); COPY t FROM STDIN; UPDATE t SET a = 1",
    "COPY t FROM STDIN; COPY u FROM STDIN",
    "UPDATE t SET a = 1 /*Bemi {\"d\":4} Bemi*/",
    "DISCARD ALL",
    "DEALLOCATE ALL",
    "PREPARE p AS DELETE FROM t",
    "EXECUTE p",
    "DEALLOCATE p",
    "SELECT fail",
    "INSERT INTO t broken",
    "BEGIN; INSERT INTO t VALUES (1); COMMIT; DELETE FROM t",
    "COMMIT AND CHAIN",
    "RESET bemi.context",
    "RESET ALL",
    "CALL p()",
    "SELECT name FROM pg_prepared_statements",
    "SET standard_conforming_strings = off",
    "SELECT set_config('bemi.context', $1, false)",
    "",
];

const NAMES: &[&str] = &["", "s", "p"];

fn client_frame(input: &mut Input<'_>, out: &mut Vec<u8>) -> String {
    match input.below(16) {
        0..=2 => {
            let text = input.pick(TEXTS);
            frontend::write_query(out, text.as_bytes());
            format!("Query {text}")
        }
        3 | 4 => {
            let (name, text) = (input.pick(NAMES), input.pick(TEXTS));
            frontend::write_parse(out, name, text, &[]);
            format!("Parse {name:?} {text}")
        }
        5 | 6 => {
            let (portal, statement) = (input.pick(NAMES), input.pick(NAMES));
            frontend::write_bind(out, portal, statement, &[]);
            format!("Bind {portal:?} {statement:?}")
        }
        7 | 8 => {
            let (portal, limit) = (input.pick(NAMES), u8::from(input.below(4) == 1));
            write_frame(out, b'E', |body| {
                body.extend_from_slice(portal.as_bytes());
                body.extend_from_slice(&[0, 0, 0, 0, limit]);
            });
            format!("Execute {portal:?} {limit}")
        }
        9 | 10 => {
            frontend::write_sync(out);
            "Sync".to_owned()
        }
        11 => {
            let (is_portal, name) = (input.flag(), input.pick(NAMES));
            let named = name.as_bytes();
            frontend::write_close(
                out,
                if is_portal {
                    Named::Portal(named)
                } else {
                    Named::Statement(named)
                },
            );
            format!("Close {is_portal} {name:?}")
        }
        12 => {
            let (kind, name) = (input.pick(b"SP"), input.pick(NAMES));
            write_frame(out, b'D', |body| {
                body.push(kind);
                body.extend_from_slice(name.as_bytes());
                body.push(0);
            });
            format!("Describe {} {name:?}", char::from(kind))
        }
        13 => {
            write_frame(out, b'd', |body| body.extend_from_slice(b"1\n"));
            "CopyData".to_owned()
        }
        14 => {
            let tag = input.pick(b"cf");
            write_frame(out, tag, |body| {
                body.extend_from_slice(if tag == b'f' { b"\0" } else { b"" })
            });
            format!("end of copy {}", char::from(tag))
        }
        _ => {
            let tag = input.pick(b"HF");
            write_frame(out, tag, |_| ());
            char::from(tag).to_string()
        }
    }
}
