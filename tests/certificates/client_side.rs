//! psql against our own TLS: a relay that accepts with [`ClientTls`] and passes on to a real server in the clear.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bemi::demo::cluster::{Cluster, ClusterOptions};
use bemi::proxy::stream::{Keepalive, Socket, Stream};
use bemi::tls::client_side::{AcceptError, ClientCertificates, ClientTls, ClientTlsFiles, Negotiation};
use rustls::pki_types::ServerName;
use rustls::{HandshakeKind, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;

use crate::pki::{Authority, EXPIRED, Identity, UNCHANGED, manual_chain, manual_self_signed};
use crate::verdict::{connection_string, of_psql, of_upstream};

const NAME: &str = "proxy.example";

struct Relay {
    port: u16,
    /// What became of the handshake of each client.
    outcomes: mpsc::UnboundedReceiver<Result<String, AcceptError>>,
}

/// Listens; every client is passed on to the server at `server_port`.
async fn relay(tls: ClientTls, server_port: u16) -> Relay {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("a port").port();
    let (sender, outcomes) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (tls, sender) = (tls.clone(), sender.clone());
            tokio::spawn(async move {
                let accepted = accept(Socket::Tcp(client), &tls).await;
                let outcome = match accepted {
                    Ok(mut client) => {
                        let description = client.tls_description().unwrap_or_default();
                        let mut server = TcpStream::connect(("127.0.0.1", server_port))
                            .await
                            .expect("the server");
                        // Either side may end it first.
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                        Ok(description)
                    }
                    Err(error) => Err(error),
                };
                // A test may have seen enough.
                let _ = sender.send(outcome);
            });
        }
    });
    Relay { port, outcomes }
}

async fn accept(mut socket: Socket, tls: &ClientTls) -> Result<Stream, AcceptError> {
    socket
        .set_options(&Keepalive::default())
        .map_err(AcceptError::Lost)?;
    let negotiation = if socket.begins_with_tls().await.map_err(AcceptError::Lost)? {
        Negotiation::Direct
    } else {
        let mut request = [0; 8];
        socket.read_exact(&mut request).await.map_err(AcceptError::Lost)?;
        assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47], "an SSLRequest");
        socket.write_all(b"S").await.map_err(AcceptError::Lost)?;
        Negotiation::Requested
    };
    Ok(tls.accept(socket, negotiation).await?.into())
}

fn write(directory: &Path, name: &str, identity: &Identity) -> (PathBuf, PathBuf) {
    let (certificate, key) = (
        directory.join(format!("{name}.crt")),
        directory.join(format!("{name}.key")),
    );
    fs::write(&certificate, &identity.chain).expect("a certificate");
    fs::write(&key, &identity.key).expect("a key");
    let only_owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&key, only_owner).expect("permissions");
    (certificate, key)
}

fn client_tls(directory: &Path, identity: &Identity, client_certificates: ClientCertificates) -> ClientTls {
    let (certificate, key) = write(directory, "proxy", identity);
    ClientTls::build(&ClientTlsFiles {
        certificate,
        key,
        client_certificates,
    })
    .expect("usable files")
}

async fn psql(port: u16, directory: &Path, more: &[(&str, &str)]) -> Result<(), String> {
    let port = port.to_string();
    let mut pairs = vec![
        ("host", NAME),
        ("hostaddr", "127.0.0.1"),
        ("port", &port),
        ("user", "postgres"),
        ("dbname", "postgres"),
    ];
    pairs.extend(more);
    let (text, home) = (connection_string(&pairs), directory.to_owned());
    let verdict = tokio::task::spawn_blocking(move || of_psql(&text, &home))
        .await
        .expect("psql");
    if verdict.is_accepted() {
        Ok(())
    } else {
        Err(verdict.reason().to_owned())
    }
}

fn cluster() -> Arc<Cluster> {
    Arc::new(Cluster::start(&ClusterOptions::default()).expect("a throw-away server"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn psql_verifies_our_certificate_whatever_it_was_made_with() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let cluster = cluster();
    let root = Authority::new("root", UNCHANGED);
    let sub = root.intermediate("intermediate", UNCHANGED);
    let manual = manual_self_signed(path, NAME);
    let (manual_root, manual_intermediate, mut leaf) = manual_chain(path, NAME);
    leaf.chain.push_str(&manual_intermediate);
    let table = [
        (root.issue(NAME, &[NAME], UNCHANGED), root.pem()),
        (sub.issue(NAME, &[NAME], UNCHANGED).with(&sub), root.pem()),
        (manual.clone(), manual.chain.clone()),
        (leaf, manual_root),
    ];
    let trusted = path.join("trusted.crt");
    for (identity, root) in table {
        fs::write(&trusted, root).expect("trusted.crt");
        let tls = client_tls(path, &identity, ClientCertificates::NotAsked);
        assert!(tls.end_point_hash().is_some_and(|hash| hash.len() == 32));
        assert_eq!(
            tls.certificate().names.common_name.as_deref(),
            Some(NAME.as_bytes())
        );
        let relay = relay(tls, cluster.port()).await;
        for version in ["TLSv1.2", "TLSv1.3"] {
            let more = [
                ("sslmode", "verify-full"),
                ("sslrootcert", trusted.to_str().expect("a path")),
                ("ssl_min_protocol_version", version),
                ("ssl_max_protocol_version", version),
            ];
            assert_eq!(psql(relay.port, path, &more).await, Ok(()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_asked_for_certificates_as_configured() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let cluster = cluster();
    let root = Authority::new("root", UNCHANGED);
    let clients = Authority::new("root of clients", UNCHANGED);
    let authorities = path.join("clients.crt");
    fs::write(&authorities, clients.pem()).expect("a file");
    write(path, "right", &clients.issue("somebody", &[], UNCHANGED));
    write(path, "expired", &clients.issue("somebody", &[], EXPIRED));
    write(path, "stranger", &root.issue("somebody", &[], UNCHANGED));
    let identity = root.issue(NAME, &[NAME], UNCHANGED);
    let table = [
        (ClientCertificates::NotAsked, [true, true, true, true]),
        (
            ClientCertificates::Optional(authorities.clone()),
            [true, true, false, false],
        ),
        (
            ClientCertificates::Required(authorities),
            [false, true, false, false],
        ),
    ];
    for (asked, expected) in table {
        let mut relay = relay(client_tls(path, &identity, asked.clone()), cluster.port()).await;
        for (name, expected) in ["none", "right", "expired", "stranger"].into_iter().zip(expected) {
            let (certificate, key) = (path.join(format!("{name}.crt")), path.join(format!("{name}.key")));
            let more = [
                ("sslmode", "require"),
                ("sslcert", certificate.to_str().expect("a path")),
                ("sslkey", key.to_str().expect("a path")),
            ];
            let verdict = psql(relay.port, path, &more).await;
            assert_eq!(verdict.is_ok(), expected, "{asked:?}, {name}: {verdict:?}");
            let outcome = relay.outcomes.recv().await.expect("an outcome");
            assert_eq!(outcome.is_ok(), expected, "{outcome:?}");
            let reason = outcome.map_or_else(|error| error.to_string(), |_| String::new());
            match (name, expected) {
                ("expired", false) => assert!(
                    reason.contains("expired: it was valid until 2020-01-01"),
                    "{reason}"
                ),
                ("stranger", false) => assert!(
                    reason.contains("issued by 'CN=root', which is not trusted"),
                    "{reason}"
                ),
                ("none", false) => assert!(reason.contains("no certificates"), "{reason}"),
                _ => {}
            }
        }
    }
}

/// A client that trusts `root` and offers `protocols` in `versions` of TLS.
fn client(
    root: &Authority,
    protocols: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ClientConfig {
    let mut roots = RootCertStore::empty();
    let (_, pem) = x509_parser::pem::parse_x509_pem(root.pem().as_bytes()).expect("PEM");
    roots.add(pem.contents.into()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

/// TLS from the first byte.
async fn connect(port: u16, config: Arc<rustls::ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from(NAME).expect("a name");
    tokio_rustls::TlsConnector::from(config)
        .connect(name, socket)
        .await
}

async fn begin_directly(port: u16, root: &Authority, protocols: &[&[u8]]) -> io::Result<()> {
    let mut stream = connect(port, Arc::new(client(root, protocols, rustls::ALL_VERSIONS))).await?;
    stream.shutdown().await
}

/// How the handshakes of one client went that connects three times, hearing the server's first word each time.
async fn three_handshakes(port: u16, config: rustls::ClientConfig) -> Vec<Option<HandshakeKind>> {
    const STARTUP: &[u8] = b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0";
    let config = Arc::new(config);
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(port, Arc::clone(&config)).await.expect("a handshake");
        stream.write_all(STARTUP).await.expect("a startup packet");
        assert_eq!(stream.read_u8().await.expect("an answer"), b'R');
        kinds.push(stream.get_ref().1.handshake_kind());
    }
    kinds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_resumed_unless_certificates_are_asked_for() {
    const FULL: Option<HandshakeKind> = Some(HandshakeKind::Full);
    const RESUMED: Option<HandshakeKind> = Some(HandshakeKind::Resumed);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let cluster = cluster();
    let root = Authority::new("root", UNCHANGED);
    let identity = root.issue(NAME, &[NAME], UNCHANGED);
    fs::write(path.join("root.crt"), root.pem()).expect("root.crt");
    let asked = ClientCertificates::Optional(path.join("root.crt"));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (client_certificates, expected) in [
            (ClientCertificates::NotAsked, [FULL, RESUMED, RESUMED]),
            (asked.clone(), [FULL, FULL, FULL]),
        ] {
            let relay = relay(client_tls(path, &identity, client_certificates), cluster.port()).await;
            let config = client(&root, &[b"postgresql"], &[version]);
            assert_eq!(
                three_handshakes(relay.port, config).await,
                expected,
                "{version:?}"
            );
        }
    }
    // A ticket is good for who issued it: a reload, as another process, begins anew.
    let tls = || client_tls(path, &identity, ClientCertificates::NotAsked);
    let config = client(&root, &[b"postgresql"], rustls::ALL_VERSIONS);
    for _ in 0..2 {
        let relay = relay(tls(), cluster.port()).await;
        let kinds = three_handshakes(relay.port, config.clone()).await;
        assert_eq!(kinds, [FULL, RESUMED, RESUMED]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn direct_tls_needs_the_protocols_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let cluster = cluster();
    let root = Authority::new("root", UNCHANGED);
    fs::write(path.join("root.crt"), root.pem()).expect("root.crt");
    let tls = client_tls(
        path,
        &root.issue(NAME, &[NAME], UNCHANGED),
        ClientCertificates::NotAsked,
    );
    let mut relay = relay(tls, cluster.port()).await;
    let mut outcome = async || relay.outcomes.recv().await.expect("an outcome");

    begin_directly(relay.port, &root, &[b"http/1.1", b"postgresql"])
        .await
        .expect("a handshake");
    assert!(outcome().await.is_ok());
    // The handshake itself is fine; that nothing follows is the server's decision.
    begin_directly(relay.port, &root, &[]).await.expect("a handshake");
    assert!(matches!(outcome().await, Err(AcceptError::NoAlpn)));
    begin_directly(relay.port, &root, &[b"http/1.1"])
        .await
        .expect_err("no common protocol");
    assert!(matches!(outcome().await, Err(AcceptError::Handshake(_))));

    let (port, trusted) = (relay.port.to_string(), path.join("root.crt"));
    let pairs = [
        ("host", NAME),
        ("hostaddr", "127.0.0.1"),
        ("port", &port),
        ("user", "postgres"),
        ("sslmode", "verify-full"),
        ("sslnegotiation", "direct"),
        ("sslrootcert", trusted.to_str().expect("a path")),
    ];
    let verdict = of_upstream(&connection_string(&pairs), path).await;
    assert!(verdict.is_accepted(), "{verdict:?}");
}

#[test]
fn files_that_do_not_fit_are_refused_with_their_names() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let root = Authority::new("root", UNCHANGED);
    let (certificate, key) = write(path, "one", &root.issue("one", &[], UNCHANGED));
    let (_, other_key) = write(path, "other", &root.issue("other", &[], UNCHANGED));
    let build = |certificate: &Path, key: &Path| {
        let files = ClientTlsFiles {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            client_certificates: ClientCertificates::NotAsked,
        };
        ClientTls::build(&files)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(build(&certificate, &key), Ok(()));
    let error_contains = |certificate: &Path, key: &Path, parts: &[&str]| {
        let error = build(certificate, key).expect_err("unusable files");
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    };
    error_contains(
        &certificate,
        &other_key,
        &["other.key", "does not belong to", "one.crt"],
    );
    error_contains(
        &path.join("none.crt"),
        &key,
        &["cannot read the certificate", "none.crt"],
    );
    error_contains(&key, &key, &["there is no certificate in", "one.key"]);
    error_contains(
        &certificate,
        &certificate,
        &["the key", "one.crt", "no private key"],
    );
}
