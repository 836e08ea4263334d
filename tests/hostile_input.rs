//! Malformed and misplaced messages in a session, said to the server directly and through the proxy: the same words,
//! the same end.

mod support;

use support::conversation::{message, message_of_length, query, terminate};
use support::referee::{Then, stage};

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

/// A message's name, what goes before it, its type, and the bodies it gets.
type Case<'a> = (&'a str, &'a [u8], u8, &'a [&'a [u8]]);

#[test]
fn parses_binds_and_others_with_broken_bodies_fail_and_the_session_goes_on() {
    let stage = stage();
    let insert = message(b'P', b"s\0INSERT INTO pg_temp.t VALUES ($1)\0\0\0");
    let select = message(b'P', b"s\0SELECT $1::text\0\0\0");
    let bound = [&select[..], &message(b'B', b"\0s\0\0\0\0\x01\0\0\0\x01x\0\0")].concat();
    let cases: &[Case<'_>] = &[
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
    // Its context would depend on a Query that will not end.
    let unsettled = query("SET bemi.context = '{}'; CREATE TEMP TABLE t (id int); COPY t FROM STDIN");
    for inside in [
        query("INSERT INTO t VALUES (1)"),
        message(b'P', b"\0INSERT INTO t VALUES (1)\0\0\0"),
    ] {
        stage.agrees(
            "a write in COPY",
            &[&unsettled[..], &inside].concat(),
            Then::Waits,
        );
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

/// A COPY that fails once its response is out, and before the server has read a byte of its data.
const FAILS_EARLY: &str = "CREATE TEMP VIEW seen AS SELECT 1 AS id; COPY seen FROM STDIN";

#[test]
fn a_sync_among_the_data_of_a_copy_that_has_failed_is_answered() {
    let stage = stage();
    let data = message(b'd', b"1\n");
    let sync = message(b'S', b"");
    let copy = query(FAILS_EARLY);
    for behind in [
        message(b'E', b"\0\0\0\0\0"),
        message(b'F', b"\0\0\0\xb1\0\x01\0\0\0\x02\0\0\0\x011\0\0\0\x011\0\0"),
        message(b'c', b""),
        query("SELECT 2"),
        [message(b'c', b""), sync.clone()].concat(),
        [
            message(b'B', b"\0\0\0\0\0\0\0\0"),
            sync.clone(),
            query("SELECT 2"),
        ]
        .concat(),
    ] {
        let said = [&copy[..], &data, &sync, &behind].concat();
        let what = format!("behind a Sync in COPY {}", behind.escape_ascii());
        stage.agrees(&what, &and_goes_on(&said), Then::Waits);
        let without = [&copy[..], &data, &behind].concat();
        let what = format!("in COPY {}", behind.escape_ascii());
        stage.agrees(&what, &and_goes_on(&without), Then::Waits);
    }
    let extended = [
        query("CREATE TEMP TABLE t (id int)"),
        message(b'P', b"\0COPY t FROM STDIN\0\0\0"),
        message(b'B', b"\0\0\0\0\0\0\0\0"),
        message(b'E', b"\0\0\0\0\0"),
    ]
    .concat();
    for (first, second) in [(&b"1\n"[..], &b"no number\n"[..]), (b"no number\n", b"2\n")] {
        let said = [
            &extended[..],
            &message(b'd', first),
            &sync,
            &message(b'd', second),
            &message(b'c', b""),
            &sync,
            &query("SELECT 2"),
        ]
        .concat();
        stage.agrees("a Sync among data", &and_goes_on(&said), Then::Waits);
    }
}

#[test]
fn half_a_message_in_copy_ends_it_with_the_servers_words() {
    let stage = stage();
    let copy = query("CREATE TEMP TABLE t (id int); COPY t FROM STDIN");
    let half = message_of_length(b'Q', 100, b"INSERT");
    let transcript = stage.agrees("half a Query", &[copy, half].concat(), Then::FallsSilent);
    assert!(
        transcript.frames.iter().any(|line| line.contains("0x51")),
        "{:?}",
        transcript.frames
    );
}

#[test]
fn an_error_in_the_code_of_a_do_has_the_position_in_the_clients_text() {
    let stage = stage();
    for code in [
        "$$ BEGIN IF THEN; END $$",
        "'BEGIN IF THEN; END'",
        "$é$ BEGIN IF THEN; END $é$",
    ] {
        let said = [query("BEGIN"), query(&format!("SELECT 'é'; DO {code}"))].concat();
        let transcript = stage.agrees(code, &and_goes_on(&said), Then::Waits);
        let error = transcript.frames.iter().find(|line| line.starts_with('E'));
        assert!(error.is_some_and(|line| line.contains("\\x00P")), "{error:?}");
    }
}

#[test]
fn a_do_behind_a_begin_that_fails_may_commit() {
    let stage = stage();
    let said = [
        message(b'P', b"\0BEGIN\0\0\0"),
        // One parameter too many.
        message(b'B', b"\0\0\0\0\0\x01\0\0\0\x011\0\0"),
        message(b'E', b"\0\0\0\0\0"),
        message(b'S', b""),
    ]
    .concat();
    let code = "DO $$ BEGIN PERFORM 1; COMMIT; END $$";
    stage.agrees(
        "DO",
        &and_goes_on(&[&said[..], &query(code)].concat()),
        Then::Waits,
    );
    let group = [
        message(b'P', format!("\0{code}\0\0\0").as_bytes()),
        message(b'B', b"\0\0\0\0\0\0\0\0"),
        message(b'E', b"\0\0\0\0\0"),
    ]
    .concat();
    stage.agrees("DO in a group", &in_a_group(&[said, group].concat()), Then::Waits);
}

#[test]
fn prepared_statements_listed_behind_a_group_without_its_sync_are_the_clients() {
    let stage = stage();
    let group = |sql: &str, execute: &[u8]| {
        [
            query("CREATE TEMP TABLE t (id int)"),
            message(b'P', format!("s\0{sql}\0\0\0").as_bytes()),
            message(b'B', b"\0s\0\0\0\0\0\0\0"),
            execute.to_vec(),
        ]
        .concat()
    };
    let list = query("SELECT name FROM pg_prepared_statements");
    let works = group("INSERT INTO t VALUES (1)", &message(b'E', b"\0\0\0\0\0"));
    let transcript = stage.agrees(
        "a group",
        &and_goes_on(&[&works[..], &list].concat()),
        Then::Waits,
    );
    assert!(!transcript.frames.iter().any(|line| line.contains("_bemi")));
    let fails = group("INSERT INTO t VALUES (1)", &message(b'E', b"none\0\0\0\0\0"));
    let insert = query("INSERT INTO t VALUES (2)");
    let said = [&fails[..], &insert, &list].concat();
    stage.agrees("a group that fails", &and_goes_on(&said), Then::Waits);
    let prepared = group("INSERT INTO t VALUES (1)", &message(b'E', b"\0\0\0\0\0"));
    let said = [&prepared[..], &message(b'S', b""), &fails[..], &insert, &list].concat();
    stage.agrees(
        "a group that fails behind one that works",
        &and_goes_on(&said),
        Then::Waits,
    );
}
