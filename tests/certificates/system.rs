//! `sslrootcert=system`: what the operating system trusts. It is made to trust a test's authority by `SSL_CERT_FILE`,
//! which OpenSSL and rustls-native-certs read alike; as the environment cannot be changed safely in a running process,
//! the test runs itself once more with it.

use std::path::Path;
use std::process::Command;

use bemi::demo::cluster::ClusterOptions;

use crate::pki::{Authority, UNCHANGED};
use crate::server;
use crate::support::version;
use crate::verdict::{connection_string, of_psql, of_upstream, psql_major};

/// Tells the inner run whom to ask.
const PORT_VARIABLE: &str = "BEMI_TEST_SYSTEM_PORT";

/// The first libpq that knows `sslrootcert=system`.
const FIRST_LIBPQ: u32 = 16;

fn question(host: &str, port: &str, mode: &str) -> String {
    connection_string(&[
        ("host", host),
        ("hostaddr", "127.0.0.1"),
        ("port", port),
        ("user", "tls_only"),
        ("dbname", "postgres"),
        ("sslmode", mode),
        ("sslrootcert", "system"),
    ])
}

/// Host, mode, and whether a system that trusts the authority gets in.
const QUESTIONS: [(&str, &str, bool); 4] = [
    ("db.example", "verify-full", true),
    ("other.example", "verify-full", false),
    // Weak modes are refused with it.
    ("db.example", "verify-ca", false),
    ("db.example", "require", false),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_systems_root_certificates_are_trusted_with_verify_full_only() {
    let home = tempfile::tempdir().expect("a directory");
    if let Ok(port) = std::env::var(PORT_VARIABLE) {
        ask(&port, home.path(), |expected| expected).await;
        return;
    }
    let root = Authority::new("root", UNCHANGED);
    let trusted = home.path().join("system.crt");
    std::fs::write(&trusted, root.pem()).expect("a file");
    let identity = root.issue("db.example", &["db.example"], UNCHANGED);
    let cluster = server(&identity, None, ClusterOptions::default()).await;
    let port = cluster.port().to_string();

    let mut inner = Command::new(std::env::current_exe().expect("this test"));
    inner.args([
        "--exact",
        "system::the_systems_root_certificates_are_trusted_with_verify_full_only",
    ]);
    inner.env(PORT_VARIABLE, &port).env("SSL_CERT_FILE", &trusted);
    let output = tokio::task::spawn_blocking(move || inner.output())
        .await
        .expect("a thread")
        .expect("this test");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");

    // The system as it is does not know a test's authority.
    ask(&port, home.path(), |_| false).await;
}

async fn ask(port: &str, home: &Path, expected: fn(bool) -> bool) {
    for (host, mode, if_trusted) in QUESTIONS {
        let question = question(host, port, mode);
        let ours = of_upstream(&question, home).await;
        assert_eq!(
            ours.is_accepted(),
            expected(if_trusted),
            "{question}: {}",
            ours.reason()
        );
        if psql_major() >= FIRST_LIBPQ {
            let (text, home) = (question.clone(), home.to_owned());
            let psql = tokio::task::spawn_blocking(move || of_psql(&text, &home))
                .await
                .expect("psql");
            assert_eq!(
                psql.is_accepted(),
                expected(if_trusted),
                "psql: {question}: {}",
                psql.reason()
            );
        } else {
            version::not_tested("psql's verdict on sslrootcert=system: it knows that since PostgreSQL 16");
        }
    }
}
