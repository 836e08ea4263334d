//! Startup packets that are malformed, too long, too new or too many: what the server makes of them, the proxy does too.

mod support;

use support::conversation::{Conversation, VERSION_3_0, startup, terminate};
use support::referee::{Then, stage};

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
