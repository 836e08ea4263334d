//! What is no session of its own kind: requests to cancel one, on every sort of connection, and replication.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bemi::config::{Config, ListenAddress};
use bemi::demo::cluster::{Cluster, ClusterOptions, ServerTls};
use bemi::tls::generate::authority_and_server;
use bemi::wire::frame::{HEADER_LEN, Header};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use support::conversation::{Conversation, PATIENCE, VERSION_3_0, message, query, startup};
use support::panics;
use support::proxy::{self, background};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const PARAMETERS: [(&str, &str); 2] = [("user", "postgres"), ("database", "postgres")];

/// Any connection on which blocking reads and writes work.
trait Connection: Read + Write {}
impl<C: Read + Write> Connection for C {}

fn frame(connection: &mut dyn Connection) -> (u8, Vec<u8>) {
    let mut header = [0; HEADER_LEN];
    connection.read_exact(&mut header).expect("a message");
    let header = Header::read(&header).expect("a length").expect("a header");
    let mut body = vec![0; header.frame_len - HEADER_LEN];
    connection.read_exact(&mut body).expect("the rest of a message");
    (header.tag, body)
}

fn read_until(connection: &mut dyn Connection, tag: u8) -> Vec<u8> {
    loop {
        let (found, body) = frame(connection);
        if found == tag {
            return body;
        }
    }
}

/// Logs in and returns what a cancel request needs: process id and key.
fn log_in(connection: &mut dyn Connection, version: i32) -> Vec<u8> {
    connection
        .write_all(&startup(version, &PARAMETERS))
        .expect("a startup packet");
    let key = read_until(connection, b'K');
    read_until(connection, b'Z');
    key
}

fn cancel_request(key: &[u8]) -> Vec<u8> {
    let length = i32::try_from(8 + key.len()).expect("a short key").to_be_bytes();
    [&length[..], &80_877_102_i32.to_be_bytes(), key].concat()
}

/// A statement that would take a minute is cancelled on another connection of the same sort; the session goes on.
fn a_statement_is_cancelled(connect: impl Fn() -> Box<dyn Connection>, version: i32) -> usize {
    let mut session = connect();
    let key = log_in(&mut session, version);
    let began = Instant::now();
    session.write_all(&query("SELECT pg_sleep(60)")).expect("a query");
    // The first may come before the query, which it then does not concern.
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(100));
        let mut request = connect();
        request.write_all(&cancel_request(&key)).expect("a request");
        request.flush().expect("a request");
        // Its end says that the server has done what it can.
        let mut nothing = Vec::new();
        _ = request.read_to_end(&mut nothing);
        assert!(nothing.is_empty(), "a cancel request has no answer");
    }
    let error = read_until(&mut session, b'E').escape_ascii().to_string();
    assert!(
        error.contains("C57014") && error.contains("due to user request"),
        "{error}"
    );
    assert_eq!(read_until(&mut session, b'Z'), b"I");
    assert!(began.elapsed() < Duration::from_secs(50));
    session.write_all(&query("SELECT 1")).expect("a query");
    read_until(&mut session, b'Z');
    key.len()
}

fn tcp(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream
}

#[test]
fn a_cancel_request_works_in_the_clear() {
    let _watch = panics::watch();
    let proxy = background().block_on(proxy::start(support::cluster()));
    a_statement_is_cancelled(|| Box::new(tcp(proxy.port())), VERSION_3_0);
}

#[test]
fn keys_of_protocol_3_2_are_as_long_as_the_servers() {
    let _watch = panics::watch();
    let cluster = support::cluster();
    let proxy = background().block_on(proxy::start(cluster));
    let version_3_2 = VERSION_3_0 | 2;
    let expected = log_in(&mut tcp(cluster.port()), version_3_2).len();
    let seen = a_statement_is_cancelled(|| Box::new(tcp(proxy.port())), version_3_2);
    assert_eq!(seen, expected);
    // Older servers negotiate down to 3.0.
    assert_eq!(
        seen,
        if cluster.server_version().major >= 18 {
            36
        } else {
            8
        }
    );
}

#[test]
fn a_cancel_request_works_on_a_unix_socket() {
    let _watch = panics::watch();
    let directory = tempfile::tempdir().expect("a directory");
    let listen: ListenAddress = format!("unix:{}:6432", directory.path().display())
        .parse()
        .expect("an address");
    let path = listen.socket_path().expect("a path");
    let _proxy = background().block_on(proxy::start_with(support::cluster(), |config: &mut Config| {
        config.listen.push(listen);
    }));
    let connect = || {
        let stream = UnixStream::connect(&path).expect("somebody listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        Box::new(stream) as Box<dyn Connection>
    };
    a_statement_is_cancelled(connect, VERSION_3_0);
}

#[test]
fn a_cancel_request_works_over_tls_on_both_legs() {
    let _watch = panics::watch();
    let generated = authority_and_server(&["localhost", "127.0.0.1"]).expect("a certificate");
    let files = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let (certificate, key) = (
        write("tls.crt", &generated.cert_pem),
        write("tls.key", &generated.key_pem),
    );
    let authority = write("ca.crt", &generated.ca_pem);
    let options = ClusterOptions {
        tls: Some(ServerTls {
            cert_pem: generated.cert_pem.clone(),
            key_pem: generated.key_pem.clone(),
            client_ca_pem: None,
        }),
        hba: Some("hostssl all all 127.0.0.1/32 trust\nlocal all all trust\n".to_owned()),
        ..ClusterOptions::default()
    };
    let cluster = Cluster::start(&options).expect("a server");
    let url = format!(
        "postgresql://127.0.0.1:{}/?sslmode=verify-full&sslrootcert={}",
        cluster.port(),
        authority.display()
    );
    let proxy = background().block_on(proxy::start_in_front_of(&url, |config| {
        config.tls.certificate = Some(certificate);
        config.tls.key = Some(key);
    }));
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(generated.ca_pem.as_bytes()).expect("a certificate");
    roots.add(root).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let connect = || {
        let mut stream = tcp(proxy.port());
        stream.write_all(&SSL_REQUEST).expect("a request");
        let mut answer = [0];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"S");
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(Arc::clone(&config), name).expect("a client");
        Box::new(StreamOwned::new(tls, stream)) as Box<dyn Connection>
    };
    a_statement_is_cancelled(connect, VERSION_3_0);
}

#[test]
fn a_clients_cancel_connection_is_closed_only_after_the_servers() {
    let _watch = panics::watch();
    // A server that takes its time, as a real one never does when one would like it to.
    let slow = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "postgresql://127.0.0.1:{}/?sslmode=disable",
        slow.local_addr().expect("an address").port()
    );
    let proxy = background().block_on(proxy::start_in_front_of(&url, |_| {}));
    let packet = cancel_request(&[7; 260]);
    let mut client = tcp(proxy.port());
    client.write_all(&packet).expect("a request");
    let (mut server, _) = slow.accept().expect("the request");
    let mut passed_on = vec![0; packet.len()];
    server.read_exact(&mut passed_on).expect("the request");
    assert_eq!(passed_on, packet, "byte for byte, a long key as well");
    client
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("an option");
    let waiting = client.read(&mut [0]).expect_err("the server has not closed");
    assert!(
        matches!(
            waiting.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ),
        "{waiting}"
    );
    drop(server);
    client.set_read_timeout(Some(PATIENCE)).expect("an option");
    assert_eq!(client.read(&mut [0]).expect("the end"), 0);
}

#[test]
fn a_cancel_request_for_nobody_is_taken_without_a_word() {
    let _watch = panics::watch();
    let proxy = background().block_on(proxy::start(support::cluster()));
    let mut request = Conversation::open(proxy.port());
    request.say(&cancel_request(&[1, 2, 3, 4, 5, 6, 7, 8]));
    let (answer, is_closed) = request.bytes_to_end();
    assert!(answer.is_empty() && is_closed);
}

#[test]
fn replication_goes_through_untouched() {
    let _watch = panics::watch();
    let cluster = support::cluster();
    let database = background().block_on(support::database(cluster));
    let admin = background().block_on(support::connect(cluster.port(), &database));
    let run = |sql: &str| background().block_on(admin.batch_execute(sql)).expect("it works");
    run("CREATE TABLE todo (id int PRIMARY KEY); CREATE PUBLICATION everything FOR ALL TABLES");
    let proxy = background().block_on(proxy::start_with(cluster, |config| {
        // Context for every write there is, and still none in here.
        config.context.fixed.insert("app".to_owned(), "test".into());
    }));
    let parameters = [
        ("user", "postgres"),
        ("database", database.as_str()),
        ("replication", "database"),
    ];
    let packet = startup(VERSION_3_0, &parameters);
    let identify = |port| {
        let mut connection = Conversation::start(port, &packet);
        connection.say(&query("IDENTIFY_SYSTEM"));
        let frames = connection.read_until(b'Z');
        // The position in the log moves on.
        (frames[0].clone(), frames.len(), frames[1].len())
    };
    assert_eq!(identify(proxy.port()), identify(cluster.port()));

    let mut stream = Conversation::start(proxy.port(), &packet);
    stream.say(&query("CREATE_REPLICATION_SLOT piped TEMPORARY LOGICAL pgoutput"));
    stream.read_until(b'Z');
    run("INSERT INTO todo SELECT generate_series(1, 5000)");
    stream.say(&query(
        "START_REPLICATION SLOT piped LOGICAL 0/0 (proto_version '1', publication_names 'everything')",
    ));
    stream.read_until(b'W');
    let mut rows = 0;
    while rows < 5000 {
        let (tag, body) = stream.frame();
        assert_eq!(tag, b'd');
        // XLogData has a header of 25 bytes; an Insert begins with `I`.
        rows += usize::from(body[0] == b'w' && body[25] == b'I');
    }
    stream.say(&message(b'c', b""));
    stream.read_until(b'c');
    stream.read_until(b'Z');
    stream.say(&query("INSERT INTO todo VALUES (0)"));
    let frames = stream.read_until(b'Z');
    assert!(
        frames.iter().any(|frame| frame.contains("INSERT 0 1")),
        "{frames:?}"
    );
    stream.say(&message(b'X', b""));
    let (rest, is_closed) = stream.bytes_to_end();
    assert!(rest.is_empty() && is_closed);
}

#[test]
fn a_replication_connection_that_vanishes_gives_up_its_slot_and_one_whose_proxy_ends_is_closed() {
    let _watch = panics::watch();
    let cluster = support::cluster();
    let admin = background().block_on(support::connect(cluster.port(), "postgres"));
    let proxy = background().block_on(proxy::start(cluster));
    let start = |slot: &str| {
        let parameters = [
            ("user", "postgres"),
            ("database", "postgres"),
            ("replication", "database"),
        ];
        let mut stream = Conversation::start(proxy.port(), &startup(VERSION_3_0, &parameters));
        stream.say(&query(&format!(
            "CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL pgoutput"
        )));
        stream.read_until(b'Z');
        stream.say(&query(&format!(
            "START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version '1', publication_names 'none')"
        )));
        stream.read_until(b'W');
        stream
    };
    let is_there = |slot: &str| {
        let sql = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1";
        let row = background()
            .block_on(admin.query_one(sql, &[&slot]))
            .expect("a row");
        row.get::<_, i64>(0) == 1
    };
    let wait_until_gone = |slot: &str| {
        let began = Instant::now();
        while is_there(slot) {
            assert!(began.elapsed() < PATIENCE, "{slot} stays");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let stream = start("vanishing");
    assert!(is_there("vanishing"));
    stream.vanish();
    wait_until_gone("vanishing");
    let mut stream = start("ended");
    proxy.handle.end();
    assert!(stream.bytes_to_end().1);
    wait_until_gone("ended");
}
