//! How TLS is asked for: with a real server where it can show it, with a few bytes where no server would say them.

use std::time::{Duration, Instant};

use bemi::config::url::UpstreamUrl;
use bemi::demo::cluster::{Cluster, ClusterOptions};
use bemi::proxy::connect_error::ConnectError;
use bemi::proxy::stream::Keepalive;
use bemi::proxy::upstream::Upstream;
use bemi::tls::CertificateRefused;
use bemi::tls::chain::ChainError;
use bemi::tls::host_name::NameError;
use bemi::tls::upstream::UpstreamTls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::pki::{Authority, EXPIRED, UNCHANGED};
use crate::verdict::{connection_string, log_in, start};
use crate::{disagreement, server};

/// A port where every connection gets `answer` to its first eight bytes, and then the end.
async fn answering(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("a port").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 8];
            // Whoever leaves earlier gets no answer.
            if stream.read_exact(&mut request).await.is_ok() && stream.write_all(answer).await.is_ok() {
                let _ = stream.shutdown().await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        }
    });
    port
}

async fn connect(url: &str) -> Result<bemi::proxy::upstream::UpstreamStream, ConnectError> {
    let url = UpstreamUrl::parse(url).expect("a URL");
    let tls = UpstreamTls::build(&url, None).expect("usable TLS");
    Upstream::new(&url, tls, Keepalive::default(), Duration::from_secs(10))
        .connect()
        .await
}

/// Asserts that connecting to a server with that answer fails, and returns SQLSTATE and text.
async fn failure(answer: &'static [u8], mode: &str) -> (&'static str, String) {
    let port = answering(answer).await;
    let error = connect(&format!(
        "postgresql://u:hunter2@127.0.0.1:{port}/d?sslmode={mode}"
    ))
    .await;
    let error = error.expect_err("a failure");
    let text = error.to_string();
    assert!(
        text.contains(&format!("at 127.0.0.1:{port} (127.0.0.1): ")),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
    (error.sqlstate(), text)
}

#[tokio::test]
async fn a_server_without_tls_is_taken_in_the_clear_only_if_tls_was_optional() {
    let cluster = Cluster::start(&ClusterOptions::default()).expect("a throw-away server");
    for (mode, expected) in [("disable", true), ("prefer", true), ("require", false)] {
        let url = cluster.url("postgres", &[("sslmode", mode)]);
        match connect(&url).await {
            Ok(mut connection) => {
                assert!(expected && !connection.stream.is_tls(), "{mode}");
                start(&mut connection.stream, "postgres").await.expect("a login");
            }
            Err(error) => {
                assert!(!expected, "{mode}: {error}");
                assert_eq!(error.sqlstate(), "08001");
                assert!(error.to_string().contains("does not support TLS"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn bytes_appended_in_the_clear_end_the_attempt() {
    let (state, text) = failure(
        b"SNothing that TLS knows, long enough to be taken for a record",
        "require",
    )
    .await;
    assert_eq!(state, "08001");
    assert!(text.contains("TLS handshake failed"), "{text}");
}

#[tokio::test]
async fn an_error_instead_of_an_answer_is_told_only_where_plain_text_is_trusted() {
    const TOO_MANY: &[u8] = b"E\0\0\0\x28SFATAL\0C53300\0Mno room\x07 left\0\0";
    let (_, text) = failure(TOO_MANY, "prefer").await;
    assert!(
        text.ends_with(r#"answered the request for TLS with an error: "no room\x07 left""#),
        "{text}"
    );
    let (state, text) = failure(TOO_MANY, "require").await;
    assert!(
        text.ends_with("answered the request for TLS with an error"),
        "{text}"
    );
    assert_eq!(state, "08001");
}

#[tokio::test]
async fn another_protocol_and_a_closed_connection_are_told_apart() {
    let (state, text) = failure(b"HTTP/1.1 400 Bad Request", "prefer").await;
    assert!(
        text.contains("this is no PostgreSQL server: it answered the request for TLS with the byte 0x48"),
        "{text}"
    );
    assert_eq!(state, "08001");
    let (state, text) = failure(b"", "require").await;
    assert!(
        text.contains("closed the connection while TLS was being agreed on"),
        "{text}"
    );
    assert_eq!(state, "08006");
    let (state, _) = failure(b"S", "require").await;
    assert_eq!(state, "08006");
}

#[tokio::test]
async fn hosts_are_tried_in_order_and_a_cancel_goes_where_the_connection_went() {
    let cluster = Cluster::start(&ClusterOptions::default()).expect("a throw-away server");
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port")
        .local_addr()
        .expect("a port")
        .port();
    let url = format!("postgresql://127.0.0.1:{closed},localhost:{}/d", cluster.port());
    let url = UpstreamUrl::parse(&url).expect("a URL");
    let tls = UpstreamTls::build(&url, None).expect("usable TLS");
    let upstream = Upstream::new(&url, tls, Keepalive::default(), Duration::from_secs(10));
    let connection = upstream.connect().await.expect("the second host");
    let mut again = upstream
        .connect_to(&connection.address)
        .await
        .expect("the same host");
    assert_eq!(again.address, connection.address);
    start(&mut again.stream, "postgres").await.expect("a login");

    let error = connect(&format!("postgresql://127.0.0.1:{closed},nowhere.invalid/d"))
        .await
        .expect_err("nobody there");
    assert_eq!(error.attempts().len(), 2);
    assert_eq!(error.sqlstate(), "08001");
    let text = error.to_string();
    assert!(
        text.contains("refused") && text.contains("; at nowhere.invalid:5432: the name cannot be resolved"),
        "{text}"
    );
}

#[tokio::test]
async fn unix_sockets_are_reached_and_never_asked_for_tls() {
    let root = Authority::new("root", UNCHANGED);
    let cluster = server(
        &root.issue("db", &["db"], UNCHANGED),
        None,
        ClusterOptions::default(),
    )
    .await;
    let port = cluster.port().to_string();
    let directory = cluster.socket_dir().to_str().expect("a path").to_owned();
    for mode in ["disable", "prefer", "require", "verify-full"] {
        let pairs = [
            ("host", directory.as_str()),
            ("port", &port),
            ("user", "postgres"),
            ("dbname", "postgres"),
            ("sslmode", mode),
        ];
        let (psql, complaint) =
            disagreement("unix socket", &connection_string(&pairs), cluster.socket_dir()).await;
        assert_eq!(complaint, None);
        assert!(psql.is_accepted(), "{mode}: {}", psql.reason());
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = silent.local_addr().expect("a port").port();
    let begin = Instant::now();
    let error = connect(&format!("postgresql://127.0.0.1:{port}/d?connect_timeout=1"))
        .await
        .expect_err("silence");
    assert!(error.to_string().contains("no answer within 1 s"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn refused_certificates_say_what_a_person_needs() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = Authority::new("root", UNCHANGED);
    let trusted = directory.path().join("root.crt");
    std::fs::write(&trusted, root.pem()).expect("root.crt");
    let expired = server(
        &root.issue("db", &["db"], EXPIRED),
        None,
        ClusterOptions::default(),
    )
    .await;
    let named = server(
        &root.issue("db", &["a.example", "10.0.0.1"], UNCHANGED),
        None,
        ClusterOptions::default(),
    )
    .await;
    let refusal = async |cluster: &Cluster| {
        let port = cluster.port();
        let trusted = trusted.display();
        let url = format!("host=db hostaddr=127.0.0.1 port={port} sslmode=verify-full sslrootcert={trusted}");
        let error = connect(&url).await.expect_err("a refusal");
        assert_eq!(error.sqlstate(), "08001");
        (error.refused_certificate().cloned(), error.to_string())
    };
    let (refused, text) = refusal(&expired).await;
    assert!(
        matches!(
            refused,
            Some(CertificateRefused::Chain(ChainError::Expired { .. }))
        ),
        "{text}"
    );
    assert!(
        text.contains("the certificate of 'CN=db' expired: it was valid until 2020-01-01 00:00:00 UTC"),
        "{text}"
    );
    let (refused, text) = refusal(&named).await;
    assert!(
        matches!(
            refused,
            Some(CertificateRefused::Name(NameError::Mismatch { .. }))
        ),
        "{text}"
    );
    assert!(
        text.contains("is not for 'db' but for a.example, 10.0.0.1:"),
        "{text}"
    );
}

#[tokio::test]
async fn direct_negotiation_works_where_the_server_knows_it() {
    /// The first server with it.
    const FIRST_SERVER: u32 = 17;
    let root = Authority::new("root", UNCHANGED);
    let cluster = server(
        &root.issue("db", &["db"], UNCHANGED),
        None,
        ClusterOptions::default(),
    )
    .await;
    let url = cluster.url(
        "postgres",
        &[("sslmode", "require"), ("sslnegotiation", "direct")],
    );
    let connection = connect(&url).await;
    if cluster.server_version().major >= FIRST_SERVER {
        let mut connection = connection.expect("a connection");
        start(&mut connection.stream, "postgres").await.expect("a login");
        assert!(connection.stream.is_tls());
    } else {
        let error = connection.expect_err("an older server hangs up");
        assert_eq!(error.sqlstate(), "08006", "{error}");
    }
}

#[tokio::test]
async fn psql_and_upstream_agree_on_versions_of_tls() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = Authority::new("root", UNCHANGED);
    let options = ClusterOptions::default().setting("ssl_max_protocol_version", "TLSv1.2");
    let cluster = server(&root.issue("db", &["db"], UNCHANGED), None, options).await;
    let port = cluster.port().to_string();
    for (version, expected) in [("TLSv1.2", true), ("TLSv1.3", false)] {
        let pairs = [
            ("host", "127.0.0.1"),
            ("port", &port),
            ("user", "tls_only"),
            ("dbname", "postgres"),
            ("sslmode", "require"),
            ("ssl_min_protocol_version", version),
        ];
        let (psql, complaint) = disagreement(version, &connection_string(&pairs), directory.path()).await;
        assert_eq!(complaint, None);
        assert_eq!(psql.is_accepted(), expected, "{}", psql.reason());
    }
    let text = format!("host=127.0.0.1 port={port} user=tls_only sslmode=require");
    let stream = log_in(&text, directory.path()).await.expect("a login");
    assert_eq!(
        stream.tls_description().as_deref(),
        Some("TLSv1_2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")
    );
    assert!(stream.peer_certificate_hash().expect("a hash").is_some());
}
