//! How connections end: politely, halfway, and not at all. Each ends both sides as it would without a proxy.

mod support;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use bemi::config::Config;
use bemi::demo::cluster::{Cluster, ClusterOptions};
use support::conversation::{
    Conversation, PATIENCE, Transcript, VERSION_3_0, message, query, startup, terminate,
};
use support::panics;
use support::proxy::{self, RunningProxy, background};

struct Stage {
    cluster: &'static Cluster,
    proxy: RunningProxy,
    admin: tokio_postgres::Client,
    _watch: panics::Watch,
}

fn stage() -> Stage {
    stage_with(|_| {})
}

fn stage_with(adjust: impl FnOnce(&mut Config)) -> Stage {
    let watch = panics::watch();
    let cluster = support::cluster();
    Stage {
        cluster,
        proxy: background().block_on(proxy::start_with(cluster, adjust)),
        admin: background().block_on(support::connect(cluster.port(), "postgres")),
        _watch: watch,
    }
}

impl Stage {
    /// Holds the same conversation with the server and through the proxy.
    fn agrees(&self, hold: impl Fn(Conversation) -> Transcript) -> Transcript {
        let expected = hold(Conversation::log_in(self.cluster.port(), "postgres"));
        assert!(expected.is_closed, "the server fell silent: {expected:?}");
        let seen = hold(Conversation::log_in(self.proxy.port(), "postgres"));
        assert!(
            seen == expected,
            "{} in place of {}",
            shown(&seen),
            shown(&expected)
        );
        expected
    }

    /// A session through the proxy with a name of its own.
    fn session(&self, name: &str) -> Conversation {
        let parameters = [
            ("user", "postgres"),
            ("database", "postgres"),
            ("application_name", name),
        ];
        Conversation::start(self.proxy.port(), &startup(VERSION_3_0, &parameters))
    }

    fn state_of(&self, name: &str) -> Option<String> {
        let sql = "SELECT coalesce(state, '') FROM pg_stat_activity WHERE application_name = $1";
        let row = background()
            .block_on(self.admin.query_opt(sql, &[&name]))
            .expect("an answer");
        row.map(|row| row.get(0))
    }

    fn wait_until(&self, name: &str, what: &str, is_so: impl Fn(Option<&str>) -> bool) {
        let began = Instant::now();
        while !is_so(self.state_of(name).as_deref()) {
            assert!(
                began.elapsed() < PATIENCE,
                "the session {name} never {what}: {:?}",
                self.state_of(name)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn wait_until_active(&self, name: &str) {
        self.wait_until(name, "became active", |state| state == Some("active"));
    }

    fn wait_until_gone(&self, name: &str) {
        self.wait_until(name, "ended", |state| state.is_none());
    }

    fn run(&self, sql: &str) {
        background()
            .block_on(self.admin.batch_execute(sql))
            .expect("it works");
    }

    fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        background()
            .block_on(self.admin.query_one(&sql, &[]))
            .expect("a row")
            .get(0)
    }
}

fn shown(transcript: &Transcript) -> String {
    let frames = &transcript.frames;
    let (first, last) = (frames.first(), frames.last());
    format!(
        "{} frames, from {first:?} to {last:?}, closed: {}",
        frames.len(),
        transcript.is_closed
    )
}

#[test]
fn replies_under_way_are_delivered_behind_a_terminate() {
    let stage = stage();
    let rows = query("SELECT g, repeat('x', 100) FROM generate_series(1, 50000) g");
    let transcript = stage.agrees(|mut conversation| {
        conversation.say(&[&rows[..], &query("SELECT 2"), &terminate()].concat());
        // Nothing is read for a while: the replies fill every buffer on their way.
        std::thread::sleep(Duration::from_millis(200));
        conversation.read_to_end()
    });
    assert_eq!(transcript.frames.len(), 50_000 + 3 + 4);
    let group = [
        message(b'P', b"\0SELECT generate_series(1, 1000)\0\0\0"),
        message(b'B', b"\0\0\0\0\0\0\0\0"),
        message(b'E', b"\0\0\0\0\0"),
        message(b'S', b""),
        terminate(),
    ];
    stage.agrees(|mut conversation| {
        conversation.say(&group.concat());
        conversation.read_to_end()
    });
}

#[test]
fn a_client_that_shuts_its_own_side_still_hears_the_answer() {
    let stage = stage();
    for sql in [
        "SELECT pg_sleep(0.2), 42",
        "SELECT pg_sleep(0.2); SELECT 1/0",
        "SELECT generate_series(1, 10000)",
    ] {
        let transcript = stage.agrees(|mut conversation| {
            conversation.say(&query("SET bemi.context = '{\"a\": 1}'"));
            conversation.say(&query(sql));
            conversation.fall_silent();
            conversation.read_to_end()
        });
        assert_eq!(transcript.frames.last().map(String::as_str), Some("Z I"), "{sql}");
    }
    stage.agrees(|mut conversation| {
        conversation.say(&query("BEGIN"));
        conversation.fall_silent();
        conversation.read_to_end()
    });
}

#[test]
fn a_client_that_vanishes_takes_its_session_along_once_the_statement_ends() {
    let stage = stage();
    stage.run("CREATE TABLE vanished (id int)");
    let endless = "SELECT repeat('x', 1000) FROM pg_class a, pg_class b, pg_class c";
    for (name, said) in [
        ("sleeping", query("SELECT pg_sleep(1)")),
        ("reading", query(endless)),
        ("copying_out", query(&format!("COPY ({endless}) TO STDOUT"))),
        ("copying_in", query("COPY vanished FROM STDIN")),
        (
            "in_a_block",
            query("BEGIN; INSERT INTO vanished VALUES (1); SELECT pg_sleep(0.5)"),
        ),
        (
            "with_context",
            query("SET bemi.context = '{}'; BEGIN; INSERT INTO vanished VALUES (1); SELECT pg_sleep(0.5)"),
        ),
    ] {
        for vanishes in [true, false] {
            let mut session = stage.session(name);
            session.say(&said);
            stage.wait_until_active(name);
            if name == "copying_in" {
                session.say(&message(b'd', b"1\n"));
            }
            if vanishes {
                session.vanish();
            } else {
                drop(session);
            }
            stage.wait_until_gone(name);
        }
    }
    assert_eq!(stage.count("vanished"), 0, "nothing of it was committed");
}

#[test]
fn what_was_sent_before_a_client_left_is_carried_out() {
    let stage = stage();
    stage.run("CREATE TABLE left_behind (id int)");
    let mut session = stage.session("leaving");
    let statements = [
        query("SET bemi.context = '{\"a\": 1}'"),
        query("INSERT INTO left_behind VALUES (1)"),
        query("SET bemi.context = '{\"a\": 2}'"),
        terminate(),
    ];
    session.say(&statements.concat());
    session.fall_silent();
    stage.wait_until_gone("leaving");
    assert_eq!(stage.count("left_behind"), 1);
}

#[test]
fn a_session_that_the_server_ends_reads_the_servers_last_words() {
    let stage = stage();
    for (name, said) in [
        ("idle", query("SELECT 1")),
        ("busy", query("SELECT 1; SELECT pg_sleep(60)")),
    ] {
        let mut session = stage.session(name);
        session.say(&said);
        if name == "idle" {
            session.read_until(b'Z');
        } else {
            stage.wait_until_active(name);
        }
        stage.run(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"
        ));
        let transcript = session.read_to_end();
        let last = transcript.frames.last().expect("last words");
        assert!(
            transcript.is_closed && last.contains("VFATAL\\x00C57P01\\x00Mterminating connection"),
            "{last}"
        );
    }
}

#[test]
fn a_server_that_stops_at_once_ends_its_clients_and_later_ones_read_where_it_was() {
    let _watch = panics::watch();
    let cluster = Cluster::start(&ClusterOptions::default()).expect("a server");
    let url = format!(
        "postgresql://bob:hunter2@127.0.0.1:{}/db?sslmode=disable",
        cluster.port()
    );
    let proxy = background().block_on(proxy::start_in_front_of(&url, |_| {}));
    let sessions = [cluster.port(), proxy.port()].map(|port| {
        let mut session = Conversation::log_in(port, "postgres");
        session.say(&query("SELECT pg_sleep(60)"));
        (Conversation::log_in(port, "postgres"), session)
    });
    let server = cluster.port();
    let watcher = background().block_on(support::connect(server, "postgres"));
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    let began = Instant::now();
    while background()
        .block_on(watcher.query_one(busy, &[]))
        .expect("a count")
        .get::<_, i64>(0)
        < 2
    {
        assert!(began.elapsed() < PATIENCE, "they do not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    cluster.stop();
    // A process of the server has a last word only if it hears of the stop before it sees the others gone; what it had said
    // before and not sent goes with that, or not at all.
    let ends = |session: Conversation, unsent: &str| {
        let transcript = session.read_to_end();
        assert!(transcript.is_closed);
        let kinds: String = transcript
            .frames
            .iter()
            .filter_map(|frame| frame.chars().next())
            .collect();
        assert!(
            kinds.is_empty() || kinds == format!("{unsent}N"),
            "{:?}",
            transcript.frames
        );
        if let Some(last) = transcript.frames.last() {
            assert!(last.contains("C57P01\\x00Mterminating connection"), "{last}");
        }
    };
    for (idle, busy) in sessions {
        ends(idle, "");
        ends(busy, "T");
    }

    let mut late = Conversation::open(proxy.port());
    late.say(&startup(
        VERSION_3_0,
        &[("user", "postgres"), ("database", "postgres")],
    ));
    let transcript = late.read_to_end();
    let error = &transcript.frames[0];
    assert!(
        error.contains("VFATAL\\x00C08001") && error.contains(&format!("127.0.0.1:{server}")),
        "{error}"
    );
    assert!(transcript.is_closed && transcript.frames.len() == 1);
    assert!(!error.contains("hunter2") && !error.contains("bob"), "{error}");
}

const GOODBYE: &str = "VFATAL\\x00C57P01\\x00Mterminating connection due to administrator command";

/// Nobody listens any more: at once, or as soon as the listener's thread has seen it.
fn wait_until_closed(port: u16) {
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {
        assert!(began.elapsed() < PATIENCE, "the proxy still listens");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn draining_lets_transactions_finish_and_sends_idle_clients_away() {
    let stage = stage();
    stage.run("CREATE TABLE drained (id int)");
    let idle = stage.session("drain_idle");
    let mut half_open = Conversation::open(stage.proxy.port());
    half_open.say(b"\0\0");
    let mut in_a_block = stage.session("drain_block");
    in_a_block.say(&query("BEGIN; INSERT INTO drained VALUES (1)"));
    in_a_block.read_until(b'Z');
    let mut failed = stage.session("drain_failed");
    failed.say(&query("BEGIN; SELECT 1/0"));
    failed.read_until(b'Z');
    let mut busy = stage.session("drain_busy");
    busy.say(&query("SELECT pg_sleep(1), 42"));
    stage.wait_until_active("drain_busy");
    let mut open_group = stage.session("drain_group");
    open_group.say(&[message(b'P', b"\0SELECT 43\0\0\0"), message(b'H', b"")].concat());
    open_group.read_until(b'1');

    stage.proxy.handle.drain();
    let farewell = |session: Conversation| {
        let transcript = session.read_to_end();
        assert!(transcript.is_closed);
        let (last, before) = transcript.frames.split_last().expect("a farewell");
        assert!(last.contains(GOODBYE), "{last}");
        before.to_vec()
    };
    assert!(farewell(idle).is_empty());
    assert!(half_open.bytes_to_end().1);
    wait_until_closed(stage.proxy.port());
    // These may go on; what they say now is still carried out.
    in_a_block.say(&query("INSERT INTO drained VALUES (2)"));
    in_a_block.read_until(b'Z');
    in_a_block.say(&query("COMMIT"));
    assert_eq!(farewell(in_a_block), ["C COMMIT\\x00", "Z I"]);
    failed.say(&query("ROLLBACK"));
    assert_eq!(farewell(failed), ["C ROLLBACK\\x00", "Z I"]);
    open_group.say(
        &[
            message(b'B', b"\0\0\0\0\0\0\0\0"),
            message(b'E', b"\0\0\0\0\0"),
            message(b'S', b""),
        ]
        .concat(),
    );
    assert_eq!(farewell(open_group).last().map(String::as_str), Some("Z I"));
    let said = farewell(busy);
    assert!(
        said.iter().any(|frame| frame.ends_with("42")) && said.last().is_some_and(|last| last == "Z I"),
        "{said:?}"
    );
    assert_eq!(stage.count("drained"), 2);
}

#[test]
fn draining_ends_after_the_shutdown_timeout() {
    let timeout = Duration::from_millis(500);
    let stage = stage_with(|config| config.shutdown.timeout = timeout);
    let mut in_a_block = stage.session("stubborn");
    in_a_block.say(&query("BEGIN"));
    in_a_block.read_until(b'Z');
    let began = Instant::now();
    stage.proxy.handle.drain();
    let transcript = in_a_block.read_to_end();
    assert!(
        began.elapsed() >= timeout && transcript.frames[0].contains(GOODBYE),
        "{transcript:?}"
    );
    stage.wait_until_gone("stubborn");
}

#[test]
fn ending_ends_everybody_at_once() {
    let stage = stage_with(|config| config.shutdown.timeout = Duration::from_secs(600));
    let mut in_a_block = stage.session("ended_block");
    in_a_block.say(&query("BEGIN"));
    in_a_block.read_until(b'Z');
    let mut busy = stage.session("ended_busy");
    busy.say(&query("SELECT pg_sleep(0.5)"));
    stage.wait_until_active("ended_busy");
    stage.proxy.handle.end();
    for session in [in_a_block, busy] {
        let transcript = session.read_to_end();
        assert!(
            transcript.is_closed && transcript.frames[0].contains(GOODBYE),
            "{transcript:?}"
        );
    }
    stage.wait_until_gone("ended_block");
    stage.wait_until_gone("ended_busy");
    wait_until_closed(stage.proxy.port());
}
