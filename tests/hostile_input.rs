//! Malformed and misplaced messages, said to the server directly and through the proxy: the same words, the same end.

mod support;

use bemi::demo::cluster::Cluster;
use support::conversation::{
    Conversation, Transcript, VERSION_3_0, message, message_of_length, query, startup, terminate,
};
use support::panics;
use support::proxy::{self, RunningProxy, background};

/// How a client behaves once it has said its piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It waits for the other side to end the connection.
    Waits,
    /// It shuts its own side down first.
    FallsSilent,
}

struct Stage {
    cluster: &'static Cluster,
    proxy: RunningProxy,
    _watch: panics::Watch,
}

fn stage() -> Stage {
    let watch = panics::watch();
    let cluster = support::cluster();
    Stage {
        cluster,
        proxy: background().block_on(proxy::start(cluster)),
        _watch: watch,
    }
}

impl Stage {
    /// Holds the same conversation twice, after a login and with a context in force, and returns the one with the
    /// server.
    fn agrees(&self, what: &str, said: &[u8], then: Then) -> Transcript {
        let hold = |port| {
            let mut conversation = Conversation::log_in(port, "postgres");
            conversation.say(&query("SET bemi.context = '{\"a\": 1}'"));
            conversation.read_until(b'Z');
            conversation.say(said);
            if then == Then::FallsSilent {
                conversation.fall_silent();
            }
            conversation.read_to_end()
        };
        let expected = hold(self.cluster.port());
        assert_eq!(hold(self.proxy.port()), expected, "{what}");
        assert!(expected.is_closed, "{what}: the server fell silent");
        expected
    }

    /// The same from the first byte on, without a login.
    fn agrees_from_the_start(&self, what: &str, said: &[u8], then: Then) -> Transcript {
        let hold = |port| {
            let mut conversation = Conversation::open(port);
            conversation.say(said);
            if then == Then::FallsSilent {
                conversation.fall_silent();
            }
            conversation.read_to_end()
        };
        let expected = hold(self.cluster.port());
        assert_eq!(hold(self.proxy.port()), expected, "{what}");
        assert!(expected.is_closed, "{what}: the server fell silent");
        expected
    }
}

/// What a client may go on with, to see that the session lives.
fn and_goes_on(said: &[u8]) -> Vec<u8> {
    [said, &query("SELECT 1"), &terminate()].concat()
}

fn in_a_group(said: &[u8]) -> Vec<u8> {
    and_goes_on(&[said, &message(b'S', b"")].concat())
}

#[test]
fn lengths_that_cannot_be_end_the_session() {
    let stage = stage();
    for tag in *b"QPBEDCSHXFdcf" {
        for length in [0, 3, -1, i32::MIN, i32::MAX, 0x4000_0000, 0x3fff_ffff] {
            let said = message_of_length(tag, length, b"");
            let what = format!("{} of length {length}", char::from(tag));
            let transcript = stage.agrees(&what, &[said, vec![0; 4]].concat(), Then::Waits);
            assert!(transcript.frames.is_empty(), "{what}: {:?}", transcript.frames);
        }
    }
}

#[test]
fn short_messages_that_are_long_end_the_session() {
    let stage = stage();
    for tag in *b"SHXcED" {
        let said = message(tag, &[0; 20_000]);
        stage.agrees(&format!("a long {}", char::from(tag)), &said, Then::FallsSilent);
    }
}

#[test]
fn messages_cut_short_by_the_end_are_not_carried_out() {
    let stage = stage();
    let insert = query("CREATE TABLE cut_short (id int); INSERT INTO cut_short VALUES (1)");
    for end in [1, 3, 5, 6, insert.len() - 1] {
        let transcript = stage.agrees(&format!("{end} bytes"), &insert[..end], Then::FallsSilent);
        assert!(transcript.frames.is_empty());
    }
    for tag in *b"PBEDCdf" {
        let said = message_of_length(tag, 100, b"abc\0def");
        stage.agrees(
            &format!("a {} cut short", char::from(tag)),
            &said,
            Then::FallsSilent,
        );
    }
}

#[test]
fn message_types_that_do_not_exist_end_the_session_with_the_servers_words() {
    let stage = stage();
    for tag in [0, b'a', b'R', b'Z', b'p', b'v', 0x16, 0x7f, 0x80, 0xff] {
        // The server does not wait for a length.
        for body in [&b""[..], b"\0\0\0\x04", b"\0\0\0\x09abcd\0"] {
            let said = [&[tag], body].concat();
            let transcript = stage.agrees(&format!("type {tag}"), &said, Then::Waits);
            assert!(transcript.frames[0].contains("C08P01"), "{:?}", transcript.frames);
        }
    }
}

#[test]
fn a_password_in_a_session_ends_it() {
    let stage = stage();
    let said = and_goes_on(&message(b'p', b"secret\0"));
    stage.agrees("a password", &said, Then::Waits);
}

#[test]
fn queries_with_broken_bodies_fail_and_the_session_goes_on() {
    let stage = stage();
    for body in [
        &b""[..],
        b"SELECT 1",
        b"SELECT 1\0;",
        b"SELECT 1\0\0",
        b"INSERT INTO t VALUES (1)",
        b"\xff\xfe\0",
        b"\0",
        b"\0\0",
    ] {
        let said = and_goes_on(&message(b'Q', body));
        stage.agrees(&format!("Query {}", body.escape_ascii()), &said, Then::Waits);
    }
}

#[test]
fn parses_binds_and_others_with_broken_bodies_fail_and_the_session_goes_on() {
    let stage = stage();
    let insert = message(b'P', b"s\0INSERT INTO pg_temp.t VALUES ($1)\0\0\0");
    let select = message(b'P', b"s\0SELECT $1::text\0\0\0");
    let bound = [&select[..], &message(b'B', b"\0s\0\0\0\0\x01\0\0\0\x01x\0\0")].concat();
    let cases: &[(&str, &[u8], u8, &[&[u8]])] = &[
        (
            "Parse",
            b"",
            b'P',
            &[
                b"",
                b"s",
                b"s\0",
                b"s\0SELECT 1",
                b"s\0SELECT 1\0",
                b"s\0SELECT 1\0\0",
                b"s\0SELECT 1\0\0\x01",
                b"s\0SELECT 1\0\xff\xff",
                b"s\0SELECT 1\0\0\0trailing",
                b"s\0SELECT $1\0\0\x01\0\0\0\0",
                b"\0SELECT 1; INSERT INTO t VALUES (1)\0\0\0",
                b"\0INSERT INTO t\0\0\0",
            ],
        ),
        (
            "Bind",
            &select,
            b'B',
            &[
                b"",
                b"\0",
                b"\0s",
                b"\0s\0",
                b"\0s\0\0",
                b"\0s\0\0\0",
                b"\0s\0\0\0\0\x01",
                b"\0s\0\0\0\0\x01\0\0\0\x05x",
                b"\0s\0\0\0\0\x01\xff\xff\xff\xfex",
                b"\0s\0\0\0\0\x02\0\0\0\x01x\0\0\0\x01x\0\0",
                b"\0s\0\0\x03\0\0\0\0\0\0\0\x01\0\0\0\x01x\0\0",
                b"\0s\0\0\x01\0\x07\0\x01\0\0\0\x01x\0\0",
                b"\0s\0\0\0\0\x01\0\0\0\x01x\0\0trailing",
                b"\0none\0\0\0\0\0\0\0",
                b"p\0s\0\0\0\xff\xff",
                b"\0s\0\0\0\0\x01\0\0\0\x01\0\0\0",
                b"\0s\0\0\x01\0\x01\0\x01\0\0\0\x01\xff\0\0",
            ],
        ),
        ("Bind of a write", &insert, b'B', &[b"\0s\0\0\0\0\x01", b"\0s\0"]),
        (
            "Execute",
            &bound,
            b'E',
            &[
                b"",
                b"\0",
                b"\0\0\0\0",
                b"\0\0\0\0\0trailing",
                b"none\0\0\0\0\0",
                b"\0\xff\xff\xff\xff",
                b"none",
            ],
        ),
        (
            "Describe",
            &bound,
            b'D',
            &[
                b"",
                b"S",
                b"P",
                b"Ss",
                b"X\0",
                b"Sx\0",
                b"Pnone\0",
                b"S\0trailing",
                b"Ss\0",
            ],
        ),
        (
            "Close",
            &bound,
            b'C',
            &[b"", b"S", b"P", b"Ss", b"X\0", b"Sx\0", b"S\0trailing"],
        ),
        ("Flush", b"", b'H', &[b"x"]),
        (
            "FunctionCall",
            b"",
            b'F',
            &[
                b"",
                b"\0\0\0\x01",
                b"\0\0\0\0\0\0\0\0\0\0",
                b"\0\0\x05\x4e\0\x01\0\x01\0\x01\0\0\0\x04\0\0\0\x01\0\x01",
            ],
        ),
    ];
    for (name, before, tag, bodies) in cases {
        for body in *bodies {
            let said = in_a_group(&[before, &message(*tag, body)[..]].concat());
            stage.agrees(&format!("{name} {}", body.escape_ascii()), &said, Then::Waits);
        }
    }
}

#[test]
fn a_sync_or_terminate_with_a_body_is_what_the_server_makes_of_it() {
    let stage = stage();
    stage.agrees("Sync", &and_goes_on(&message(b'S', b"x")), Then::Waits);
    stage.agrees("Terminate", &message(b'X', b"x"), Then::Waits);
}

#[test]
fn what_follows_an_error_is_skipped_up_to_the_sync_whatever_it_is() {
    let stage = stage();
    let failing = message(b'P', b"\0SELECT broken broken broken\0\0\0");
    for skipped in [
        query("SELECT 2"),
        query("INSERT INTO t VALUES (1)"),
        message(b'B', b""),
        message(b'Q', b"no terminator"),
        message(b'F', b""),
        message(b'd', b"data"),
        message(b'E', b"\0\0\0\0\0"),
        message(b'C', b"X"),
    ] {
        let said = in_a_group(&[&failing[..], &skipped].concat());
        stage.agrees(&format!("skipped {}", skipped.escape_ascii()), &said, Then::Waits);
    }
    let unknown = [&failing[..], &message(b'z', b"")].concat();
    stage.agrees("an unknown type while skipping", &unknown, Then::Waits);
    let ended = [&failing[..], &terminate()].concat();
    stage.agrees("the end while skipping", &ended, Then::Waits);
}

#[test]
fn copy_messages_out_of_copy_are_ignored() {
    let stage = stage();
    for tag in *b"dcf" {
        let said = and_goes_on(&message(tag, b"data\0"));
        stage.agrees(&format!("{} out of COPY", char::from(tag)), &said, Then::Waits);
    }
    let many = [
        message(b'c', b"").repeat(3),
        query("SELECT 1"),
        message(b'c', b"").repeat(3),
        message(b'S', b""),
    ];
    stage.agrees("many of them", &and_goes_on(&many.concat()), Then::Waits);
}

#[test]
fn other_messages_within_copy_fail_as_on_the_server() {
    let stage = stage();
    let copy = query("CREATE TEMP TABLE t (id int); COPY t FROM STDIN");
    for inside in [
        query("INSERT INTO t VALUES (1)"),
        query("SELECT 1"),
        message(b'P', b"\0SELECT 1\0\0\0"),
        message(b'B', b"\0\0\0\0\0\0\0\0"),
        message(b'E', b"\0\0\0\0\0"),
        message(b'F', b""),
        message(b'p', b"x\0"),
        message(b'z', b""),
        message_of_length(b'd', 3, b""),
        terminate(),
    ] {
        let what = format!("{} in COPY", inside.escape_ascii());
        stage.agrees(&what, &[&copy[..], &inside].concat(), Then::Waits);
    }
    for ignored in [message(b'H', b""), message(b'S', b"")] {
        let said = [&copy[..], &message(b'd', b"1\n"), &ignored, &message(b'c', b"")].concat();
        stage.agrees("Flush or Sync in COPY", &and_goes_on(&said), Then::Waits);
    }
    let failed = [&copy[..], &message(b'f', b"no terminator")].concat();
    stage.agrees("CopyFail", &and_goes_on(&failed), Then::Waits);
    let broken = [
        &copy[..],
        &message(b'd', b"no number\n"),
        &message(b'd', b"2\n"),
        &message(b'c', b""),
    ]
    .concat();
    stage.agrees("broken data", &and_goes_on(&broken), Then::Waits);
}

#[test]
fn startup_packets_that_cannot_be_end_the_connection_without_a_word() {
    let stage = stage();
    for length in [0, 3, 4, 7, -1, i32::MAX, 10_005, 20_000] {
        let said = [
            &i32::to_be_bytes(length)[..],
            &VERSION_3_0.to_be_bytes(),
            b"user\0postgres\0\0",
        ]
        .concat();
        let transcript = stage.agrees_from_the_start(&format!("length {length}"), &said, Then::Waits);
        assert!(transcript.frames.is_empty());
    }
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        stage.agrees_from_the_start("garbage", garbage, Then::FallsSilent);
    }
    let packet = startup(VERSION_3_0, &[("user", "postgres")]);
    for end in [0, 1, 4, 8, packet.len() - 1] {
        stage.agrees_from_the_start(&format!("{end} bytes"), &packet[..end], Then::FallsSilent);
    }
    let cancel = |key: &[u8]| {
        let length = i32::try_from(12 + key.len()).expect("short").to_be_bytes();
        [&length[..], &80_877_102_i32.to_be_bytes(), &[0, 0, 0, 1], key].concat()
    };
    for key in [&b""[..], b"abc", b"abcd"] {
        stage.agrees_from_the_start("a cancel request", &cancel(key), Then::Waits);
    }
}

#[test]
fn startup_packets_are_as_long_as_the_server_takes_them() {
    let stage = stage();
    let packet_of = |len: usize| {
        let rest = [("user", "postgres"), ("database", "postgres")];
        let empty = startup(VERSION_3_0, &[rest[0], rest[1], ("application_name", "")]).len();
        let name = "x".repeat(len - empty);
        startup(VERSION_3_0, &[rest[0], rest[1], ("application_name", &name)])
    };
    for (len, is_accepted) in [(10_000, true), (10_001, true), (10_004, true), (10_005, false)] {
        let said = [packet_of(len), terminate()].concat();
        let transcript = stage.agrees_from_the_start(&format!("{len} bytes"), &said, Then::Waits);
        assert_eq!(!transcript.frames.is_empty(), is_accepted, "{len} bytes");
    }
}

/// An error without the place in the server's source.
fn essence(frame: &str) -> String {
    let fields = frame.split("\\x00");
    fields
        .filter(|field| !field.starts_with(['F', 'L', 'R']))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn broken_startup_packets_are_refused_and_never_passed_on() {
    let stage = stage();
    let packet = |body: &[u8]| {
        let length = i32::try_from(8 + body.len()).expect("short").to_be_bytes();
        [&length[..], &VERSION_3_0.to_be_bytes(), body].concat()
    };
    for body in [
        &b""[..],
        b"user\0postgres\0",
        b"user\0postgres",
        b"user\0",
        b"user",
        b"user\0postgres\0\0more",
        b"\0\0",
    ] {
        let hold = |port| {
            let mut conversation = Conversation::open(port);
            conversation.say(&packet(body));
            let transcript = conversation.read_to_end();
            assert!(transcript.is_closed);
            transcript
                .frames
                .iter()
                .map(|frame| essence(frame))
                .collect::<Vec<_>>()
        };
        let expected = hold(stage.cluster.port());
        assert!(expected[0].contains("C08P01"), "{expected:?}");
        assert_eq!(hold(stage.proxy.port()), expected, "{}", body.escape_ascii());
    }
    stage.agrees_from_the_start("no user", &packet(b"\0"), Then::Waits);
    // The server takes this one. Were it handed over unread, nobody would look at what follows.
    let mut conversation = Conversation::open(stage.proxy.port());
    conversation.say(&packet(b"user\0postgres\0x"));
    let frames = conversation.read_to_end().frames;
    assert!(frames.len() == 1 && frames[0].contains("C08P01"), "{frames:?}");
}

#[test]
fn protocol_versions_get_the_servers_answer() {
    let stage = stage();
    let parameters = [("user", "postgres"), ("database", "postgres")];
    for (major, minor) in [
        (2, 0),
        (4, 0),
        (0, 0),
        (1234, 5677),
        (3, 0),
        (3, 1),
        (3, 2),
        (3, 9999),
    ] {
        let said = [startup((major << 16) | minor, &parameters), terminate()].concat();
        let transcript = stage.agrees_from_the_start(&format!("{major}.{minor}"), &said, Then::Waits);
        let first = &transcript.frames[0];
        assert_eq!(
            first.contains("unsupported frontend protocol"),
            major != 3,
            "{major}.{minor}: {first}"
        );
    }
    let unknown = [&parameters[..], &[("_pq_.bemi", "1")]].concat();
    let said = [startup(VERSION_3_0, &unknown), terminate()].concat();
    let transcript = stage.agrees_from_the_start("an unknown option of the protocol", &said, Then::Waits);
    assert!(transcript.frames[0].starts_with('v'), "{:?}", transcript.frames);
}

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

#[test]
fn requests_for_encryption_are_answered_as_often_as_the_server_does() {
    let stage = stage();
    let packet = startup(VERSION_3_0, &[("user", "postgres"), ("database", "postgres")]);
    let mut long_request = SSL_REQUEST.to_vec();
    long_request[3] = 9;
    long_request.push(0);
    let hold = |port, requests: &[&[u8]]| {
        let mut conversation = Conversation::open(port);
        for request in requests {
            conversation.say(request);
            assert_eq!(conversation.read(1).expect("an answer"), b"N", "{requests:?}");
        }
        conversation.say(&[&packet[..], &terminate()].concat());
        conversation.read_to_end()
    };
    let expected = hold(stage.cluster.port(), &[]);
    for request in [&SSL_REQUEST[..], &long_request] {
        assert_eq!(hold(stage.cluster.port(), &[request]), expected);
        assert_eq!(hold(stage.proxy.port(), &[request]), expected);
    }
    // A server may have GSSAPI; the proxy has not. Refused, a client may ask for the other kind.
    for requests in [
        &[&GSSENC_REQUEST[..]][..],
        &[&GSSENC_REQUEST, &SSL_REQUEST],
        &[&SSL_REQUEST, &GSSENC_REQUEST, &SSL_REQUEST],
    ] {
        assert_eq!(hold(stage.proxy.port(), requests), expected);
    }
}

#[test]
fn the_same_request_for_encryption_twice_is_taken_for_a_version() {
    let stage = stage();
    let hold = |port, request: &[u8]| {
        let mut conversation = Conversation::open(port);
        conversation.say(request);
        assert_eq!(conversation.read(1).expect("an answer"), b"N");
        conversation.say(request);
        conversation.read_to_end()
    };
    for (port, request, code) in [
        (stage.cluster.port(), SSL_REQUEST, "1234.5679"),
        (stage.proxy.port(), SSL_REQUEST, "1234.5679"),
        (stage.proxy.port(), GSSENC_REQUEST, "1234.5680"),
    ] {
        let transcript = hold(port, &request);
        let words = format!("C0A000\\x00Munsupported frontend protocol {code}: server supports 3.0 to 3.");
        assert!(
            transcript.is_closed && transcript.frames[0].contains(&words),
            "{transcript:?}"
        );
    }
}
