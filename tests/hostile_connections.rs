//! Connections that are never meant to become sessions: silent ones, masses of them, TLS that is none, logins that
//! go wrong. None of them costs anybody else anything.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bemi::config::Config;
use bemi::demo::cluster::{Cluster, ClusterOptions};
use bemi::proxy::open_files;
use bemi::tls::generate::Generated;
use rustls::StreamOwned;
use support::conversation::{
    Conversation, PATIENCE, Transcript, VERSION_3_0, lines, message, message_of_length, query, startup,
    terminate,
};
use support::panics;
use support::proxy::{self, RunningProxy, background};
use support::tls;

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

fn packet() -> Vec<u8> {
    startup(VERSION_3_0, &[("user", "postgres"), ("database", "postgres")])
}

fn start(adjust: impl FnOnce(&mut Config)) -> RunningProxy {
    background().block_on(proxy::start_with(support::cluster(), adjust))
}

/// Asks for TLS, with `smuggled` in the clear behind the request, and goes on as if nothing were.
fn log_in_with_tls(
    proxy: &RunningProxy,
    authority: &Generated,
    smuggled: &[u8],
) -> std::io::Result<Vec<String>> {
    let mut conversation = Conversation::open(proxy.port());
    conversation.say(&[&SSL_REQUEST[..], smuggled].concat());
    assert_eq!(conversation.read(1)?, b"S");
    let mut tls = StreamOwned::new(tls::client(authority, &[]), conversation.stream());
    tls.write_all(&[packet(), terminate()].concat())?;
    let mut bytes = Vec::new();
    tls.read_to_end(&mut bytes)?;
    Ok(lines(&bytes))
}

#[test]
fn what_a_stranger_put_behind_an_ssl_request_ends_the_connection() {
    let _watch = panics::watch();
    let (proxy, authority) = tls::start_proxy(|_| {});
    let frames = log_in_with_tls(&proxy, &authority, b"").expect("a session");
    assert!(frames.iter().any(|frame| frame == "Z I"), "{frames:?}");
    for smuggled in [
        &b"x"[..],
        &packet(),
        &[packet(), query("SELECT 1")].concat(),
        &SSL_REQUEST,
    ] {
        let outcome = log_in_with_tls(&proxy, &authority, smuggled);
        assert!(outcome.is_err(), "{outcome:?} behind {}", smuggled.escape_ascii());
    }
}

#[test]
fn a_tls_handshake_that_is_none_ends_the_connection() {
    let _watch = panics::watch();
    let (proxy, _) = tls::start_proxy(|_| {});
    for garbage in [
        &b"\x16\x03\x01\xff\xff"[..],
        b"\x16\x03\x01\0\x05hello",
        b"\x15\x03\x03\0\x02\x01\0",
        &[0; 600],
    ] {
        for request in [&SSL_REQUEST[..], b""] {
            let mut conversation = Conversation::open(proxy.port());
            conversation.say(&[request, garbage].concat());
            conversation.fall_silent();
            let (bytes, is_closed) = conversation.bytes_to_end();
            assert!(is_closed);
            let alert = bytes.strip_prefix(b"S").unwrap_or(&bytes);
            assert!(alert.is_empty() || alert[0] == 0x15, "{}", bytes.escape_ascii());
        }
    }
}

#[test]
fn direct_tls_needs_a_certificate_here_and_the_protocols_name_there() {
    let _watch = panics::watch();
    let (proxy, authority) = tls::start_proxy(|_| {});
    let direct = |port, alpn: &[&[u8]]| {
        let mut conversation = Conversation::open(port);
        let mut tls = StreamOwned::new(tls::client(&authority, alpn), conversation.stream());
        tls.write_all(&[packet(), terminate()].concat())?;
        let mut bytes = Vec::new();
        tls.read_to_end(&mut bytes).map(|_| lines(&bytes))
    };
    let frames = direct(proxy.port(), &[b"postgresql"]).expect("a session");
    assert!(frames.iter().any(|frame| frame == "Z I"), "{frames:?}");
    assert!(direct(proxy.port(), &[]).is_err());
    assert!(direct(proxy.port(), &[b"http/1.1"]).is_err());
    let without = start(|_| {});
    assert!(direct(without.port(), &[b"postgresql"]).is_err());
}

#[test]
fn broken_messages_in_a_login_end_it_with_the_servers_words_or_a_clear_error() {
    let _watch = panics::watch();
    let options = ClusterOptions {
        password: Some("pencil".to_owned()),
        hba: Some("host all all 127.0.0.1/32 scram-sha-256\nlocal all all trust\n".to_owned()),
        ..ClusterOptions::default()
    };
    let cluster = Cluster::start(&options).expect("a server");
    let proxy = background().block_on(proxy::start(&cluster));
    let hold = |port, said: &[u8]| {
        let mut conversation = Conversation::open(port);
        conversation.say(&packet());
        assert_eq!(conversation.frame().0, b'R');
        conversation.say(said);
        conversation.fall_silent();
        conversation.read_to_end()
    };
    let initial = |mechanism: &[u8], data: &[u8]| {
        let length = i32::try_from(data.len()).expect("short").to_be_bytes();
        message(b'p', &[mechanism, b"\0", &length, data].concat())
    };
    let good = initial(b"SCRAM-SHA-256", b"n,,n=,r=rOprNGfwEbeRWgbNEkqO");
    for said in [
        vec![],
        message(b'p', b""),
        message(b'p', b"pencil\0"),
        message(b'p', b"no terminator"),
        query("SELECT 1"),
        message(b'z', b"x"),
        initial(b"SCRAM-SHA-1", b"x"),
        initial(b"SCRAM-SHA-256", b""),
        initial(b"SCRAM-SHA-256", b"\xff\xff"),
        initial(b"SCRAM-SHA-256-PLUS", b"p=tls-unique,,n=,r=x"),
        [&good[..], &message(b'p', b"garbage")].concat(),
        [&good[..], &good].concat(),
        [&good[..], &query("SELECT 1")].concat(),
    ] {
        let said_shown = said.escape_ascii();
        let code = |transcript: &Transcript| {
            assert!(transcript.is_closed, "{said_shown}");
            // The server's part of a SCRAM exchange is another one each time.
            let errors = transcript.frames.iter().filter(|frame| frame.starts_with('E'));
            let codes = errors.map(|error| {
                error
                    .split("\\x00")
                    .find(|field| field.starts_with('C'))
                    .map(str::to_owned)
            });
            codes.collect::<Vec<_>>()
        };
        let (expected, seen) = (hold(cluster.port(), &said), hold(proxy.port(), &said));
        assert_eq!(
            code(&seen),
            code(&expected),
            "{said_shown}: {seen:?} in place of {expected:?}"
        );
    }
    let cut_short = hold(proxy.port(), b"p\0\0\0\x20SCRAM");
    assert!(
        cut_short.is_closed && cut_short.frames.is_empty(),
        "{cut_short:?}"
    );
    // The server leaves without a word; the proxy may say why.
    for length in [0, 3, -1, i32::MAX, 70_000] {
        let seen = hold(proxy.port(), &message_of_length(b'p', length, b"x"));
        assert!(
            seen.is_closed && seen.frames.len() == 1 && seen.frames[0].contains("C08P01"),
            "{seen:?}"
        );
    }
}

#[test]
fn a_silent_connection_ends_with_the_handshake_timeout() {
    let _watch = panics::watch();
    let timeout = Duration::from_millis(500);
    let proxy = start(|config| config.limits.handshake_timeout = timeout);
    let mut session = Conversation::log_in(proxy.port(), "postgres");
    for said in [
        &b""[..],
        b"\0\0\0\x20",
        &SSL_REQUEST[..3],
        &packet()[..10],
        &SSL_REQUEST,
    ] {
        let began = Instant::now();
        let mut conversation = Conversation::open(proxy.port());
        conversation.say(said);
        assert!(conversation.bytes_to_end().1, "{}", said.escape_ascii());
        assert!(began.elapsed() >= timeout, "{}", said.escape_ascii());
    }
    // Who has logged in may be silent as long as he likes.
    session.say(&query("SELECT 1"));
    session.read_until(b'Z');
}

#[test]
fn one_session_too_many_is_refused_until_another_ends() {
    let _watch = panics::watch();
    let proxy = start(|config| config.limits.max_connections = 2);
    let silent: Vec<_> = (0..5).map(|_| Conversation::open(proxy.port())).collect();
    let first = Conversation::log_in(proxy.port(), "postgres");
    let _second = Conversation::log_in(proxy.port(), "postgres");
    let refused = || {
        let mut third = Conversation::open(proxy.port());
        third.say(&[packet(), query("SELECT 1"), terminate()].concat());
        let transcript = third.read_to_end();
        assert!(transcript.is_closed);
        transcript.frames[0].contains("SFATAL\\x00VFATAL\\x00C53300\\x00Msorry, too many clients already")
    };
    assert!(refused());
    drop(first);
    let began = Instant::now();
    while refused() {
        assert!(
            began.elapsed() < PATIENCE,
            "the place of a session that ended stays taken"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(silent);
}

/// The program itself, begun with the soft limit of open files that most systems give.
struct Program {
    child: Child,
    port: u16,
    log: std::thread::JoinHandle<String>,
}

impl Program {
    fn start(upstream: &str) -> Self {
        let mut child = Command::new("sh")
            .args([
                "-c",
                "ulimit -S -n 1024; exec \"$0\" \"$@\"",
                env!("CARGO_BIN_EXE_bemi"),
                "proxy",
            ])
            .args([
                "--upstream",
                upstream,
                "--listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
            ])
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut log = BufReader::new(child.stderr.take().expect("standard error"));
        let mut started = String::new();
        while !started.contains("127.0.0.1:") {
            started.clear();
            assert!(
                log.read_line(&mut started).expect("a log") > 0,
                "it did not start"
            );
        }
        let port = started.split("127.0.0.1:").find_map(|rest| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits
                .parse()
                .ok()
                .filter(|_| !rest.starts_with(&format!("{}/", digits)))
        });
        let log = std::thread::spawn(move || {
            let mut rest = String::new();
            log.read_to_string(&mut rest).expect("a log");
            rest
        });
        Self {
            child,
            port: port.expect("a port"),
            log,
        }
    }

    /// Ends it and returns the rest of its log.
    fn stop(mut self) -> String {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
        self.log.join().expect("its log")
    }
}

#[test]
fn ten_thousand_half_open_connections_are_felt_by_nobody() {
    let limit = open_files::raise_limit().expect("more open files");
    // Some descriptors are this test's own.
    let count = usize::try_from(limit.saturating_sub(500)).map_or(10_000, |most| most.min(10_000));
    let cluster = support::cluster();
    let program = Program::start(&format!(
        "postgresql://127.0.0.1:{}/?sslmode=disable",
        cluster.port()
    ));
    let port = program.port;
    let is_over = Arc::new(AtomicBool::new(false));
    let bystander = std::thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            let mut session = Conversation::log_in(port, "postgres");
            let (mut worst, mut rounds) = (Duration::ZERO, 0);
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                session.say(&query("SELECT 1"));
                session.read_until(b'Z');
                worst = worst.max(began.elapsed());
                rounds += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            (worst, rounds)
        }
    });
    let packet = packet();
    let half_open: Vec<TcpStream> = (0..count)
        .map(|nth| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
            let said: &[u8] = match nth % 4 {
                0 => b"",
                1 => &packet[..3],
                2 => &packet[..packet.len() - 1],
                _ => &SSL_REQUEST,
            };
            stream.write_all(said).expect("a few bytes");
            if nth % 1_000 == 0 {
                drop(Conversation::log_in(port, "postgres"));
            }
            stream
        })
        .collect();
    let began = Instant::now();
    drop(Conversation::log_in(port, "postgres"));
    let login = began.elapsed();
    is_over.store(true, Ordering::Relaxed);
    let (worst, rounds) = bystander.join().expect("a session that lives");
    assert!(
        rounds > 10 && worst < Duration::from_secs(5),
        "{rounds} rounds, the slowest {worst:?}"
    );
    assert!(login < Duration::from_secs(5), "a login took {login:?}");
    drop(half_open);
    drop(Conversation::log_in(port, "postgres"));
    let log = program.stop();
    assert!(!log.contains("panicked") && !log.contains("\"ERROR\""), "{log}");
}
