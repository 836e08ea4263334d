//! A COPY FROM STDIN that fails. The server ignores a Sync that it reads among the data, and where it failed before it
//! had read that far, the very same Sync ends the skipping: what a client reads is the server's to tell.
//!
//! libpq and tokio-postgres send a Sync with the Execute of a COPY, and another one behind its data.

mod support;

use support::conversation::{Conversation, message, query, terminate};
use support::referee::{self, Stage};

/// Fails before it reads any data: the table is older than the transaction.
const FAILS_AT_ONCE: &str = "COPY copied FROM STDIN (FREEZE)";

/// Fails at data that is no number.
const READS: &str = "COPY copied FROM STDIN";

const GOOD: &[u8] = b"1\n";
const BAD: &[u8] = b"nonsense\n";

/// What a client does.
enum Step {
    Says(Vec<u8>),
    /// Reads up to the first message of this type.
    Reads(u8),
}

/// An extended execution, without the Sync.
fn execute(sql: &str) -> Vec<u8> {
    let mut said = message(b'P', &[b"\0", sql.as_bytes(), b"\0\0\0"].concat());
    said.extend(message(b'B', &[0; 8]));
    said.extend(message(b'D', b"P\0"));
    said.extend(message(b'E', &[0; 5]));
    said
}

fn sync() -> Vec<u8> {
    message(b'S', b"")
}

fn data(lines: &[u8]) -> Vec<u8> {
    message(b'd', lines)
}

fn done() -> Vec<u8> {
    message(b'c', b"")
}

/// What shows that the session goes on: writes in either protocol, and what they wrote.
fn goes_on() -> Vec<u8> {
    let mut said = [execute("INSERT INTO copied VALUES (10) RETURNING n + 0"), sync()].concat();
    said.extend(query(
        "INSERT INTO copied VALUES (11) RETURNING n + 0; SELECT count(*) FROM copied",
    ));
    said.extend([execute("INSERT INTO copied SELECT 1 / 0"), sync(), sync()].concat());
    said.extend(query("SELECT n + 0 FROM copied"));
    said.extend(terminate());
    said
}

/// Holds a conversation with the server and with the proxy.
fn agrees(stage: &Stage, what: &str, steps: &[Step]) {
    let hold = |port| {
        let mut conversation = Conversation::log_in(port, "postgres");
        conversation.say(&query("SET bemi.context = '{\"a\": 1}'"));
        conversation.read_until(b'Z');
        conversation.say(&query("CREATE TEMPORARY TABLE copied (n int)"));
        conversation.read_until(b'Z');
        let mut read = Vec::new();
        for step in steps {
            match step {
                Step::Says(said) => conversation.say(said),
                Step::Reads(tag) => read.extend(conversation.read_until(*tag)),
            }
        }
        conversation.say(&goes_on());
        let rest = conversation.read_to_end();
        assert!(rest.is_closed, "{what}: it fell silent");
        read.extend(rest.frames);
        read
    };
    let expected = hold(stage.cluster.port());
    assert_eq!(hold(stage.proxy.port()), expected, "{what}");
}

/// All of it at once.
fn agrees_on(stage: &Stage, what: &str, said: &[Vec<u8>]) {
    agrees(stage, what, &[Step::Says(said.concat())]);
}

#[test]
fn syncs_around_the_data_of_a_copy_that_fails_are_answered_as_the_server_answers_them() {
    let stage = referee::stage();
    for (sql, lines) in [(FAILS_AT_ONCE, GOOD), (READS, BAD), (READS, GOOD)] {
        let what = |syncs: &str| format!("{sql}, {}, {syncs}", lines.escape_ascii());
        let (copy, data, done, sync) = (execute(sql), data(lines), done(), sync());
        let said = |parts: &[&Vec<u8>]| parts.iter().map(|part| (*part).clone()).collect::<Vec<_>>();
        for (name, parts) in [
            ("one behind", said(&[&copy, &data, &done, &sync])),
            (
                "one ahead, one behind",
                said(&[&copy, &sync, &data, &done, &sync]),
            ),
            (
                "many",
                said(&[&copy, &sync, &sync, &data, &sync, &done, &sync, &sync]),
            ),
            (
                "among the data",
                said(&[&copy, &data, &sync, &data, &done, &sync]),
            ),
        ] {
            agrees_on(&stage, &what(name), &parts);
            let in_block = [vec![query("BEGIN")], parts, vec![query("ROLLBACK")]].concat();
            agrees_on(&stage, &format!("{}, in a block", what(name)), &in_block);
        }
        let simple = query(sql);
        for (name, parts) in [
            ("simple, none", said(&[&simple, &data, &done])),
            ("simple, ahead", said(&[&simple, &sync, &data, &done])),
            (
                "simple, ahead and behind",
                said(&[&simple, &sync, &data, &done, &sync]),
            ),
        ] {
            agrees_on(&stage, &what(name), &parts);
        }
    }
}

#[test]
fn a_client_that_waits_for_each_reply_to_a_failing_copy_reads_what_the_server_says() {
    let stage = referee::stage();
    for (sql, lines) in [(FAILS_AT_ONCE, GOOD), (READS, BAD), (READS, GOOD)] {
        let start = || Step::Says([execute(sql), sync()].concat());
        let end = || Step::Says([data(lines), done(), sync()].concat());
        agrees(
            &stage,
            sql,
            &[start(), Step::Reads(b'G'), end(), Step::Reads(b'Z')],
        );
    }
    // It learns of the failure before it has sent any data, and sends none.
    let start = Step::Says([execute(FAILS_AT_ONCE), sync()].concat());
    agrees(&stage, "no data", &[start, Step::Reads(b'Z')]);
}

#[test]
fn what_is_sent_behind_a_copy_that_took_no_data_is_run() {
    let stage = referee::stage();
    let insert = execute("INSERT INTO copied VALUES (5)");
    agrees_on(
        &stage,
        "a pipeline",
        &[execute(FAILS_AT_ONCE), sync(), insert, sync()],
    );
}
