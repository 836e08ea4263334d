//! psql and `Upstream::connect` agree, for every certificate of the matrix and in every `sslmode`.
//!
//! One server whose certificate is replaced, and both asked with the same connection string. The matrix also says what
//! psql's verdict is, so that two that refuse everything would not pass.

#[path = "../support/mod.rs"]
mod support;

mod cases;
mod pki;
mod verdict;

mod channel_binding;
mod client_certificates;
mod client_side;
mod negotiation;
mod system;

use std::path::Path;
use std::time::{Duration, Instant};

use bemi::demo::cluster::{Cluster, ClusterOptions, ServerTls};
use cases::{Case, Strongest};
use pki::{Authority, Identity, UNCHANGED};
use verdict::{Verdict, connection_string};

const MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

/// Who may log in how: `postgres` any way, `tls_only` only with TLS, so that falling back into the clear shows.
const HBA: &str = "\
local all all trust
hostssl all tls_only all trust
hostnossl all tls_only all reject
hostssl all must_show_certificate all trust clientcert=verify-ca
host all all all trust
";

/// A server with TLS, and the roles of [`HBA`].
pub async fn server(
    identity: &Identity,
    client_authority: Option<String>,
    options: ClusterOptions,
) -> Cluster {
    let options = ClusterOptions {
        hba: Some(HBA.to_owned()),
        tls: Some(ServerTls {
            cert_pem: identity.chain.clone(),
            key_pem: identity.key.clone(),
            client_ca_pem: client_authority,
        }),
        ..options
    };
    let cluster = Cluster::start(&options).expect("a throw-away server");
    let client = support::connect(cluster.port(), "postgres").await;
    client
        .batch_execute("CREATE ROLE tls_only LOGIN; CREATE ROLE must_show_certificate LOGIN")
        .await
        .expect("roles");
    cluster
}

/// Gives the server another certificate, and waits until it shows it.
async fn show(cluster: &Cluster, identity: &Identity, home: &Path) {
    cluster
        .write_file("server.crt", &identity.chain)
        .expect("server.crt");
    cluster
        .write_file("server.key", &identity.key)
        .expect("server.key");
    cluster.reload().expect("a reload");
    let port = cluster.port().to_string();
    let pairs = [
        ("host", "127.0.0.1"),
        ("port", &port),
        ("user", "postgres"),
        ("sslmode", "require"),
    ];
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let shown = verdict::log_in(&connection_string(&pairs), home).await;
        if let Ok(stream) = &shown
            && stream.peer_certificate() == Some(&identity.der())
        {
            return;
        }
        if Instant::now() > deadline {
            let reason = shown.map_or_else(|reason| reason, |_| "the old certificate".to_owned());
            let log = cluster.log().expect("its log");
            let hints: Vec<&str> = log
                .lines()
                .filter(|line| !line.contains("receive data"))
                .collect();
            panic!(
                "the server does not show its new certificate: {reason}\n{}",
                hints.join("\n")
            );
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Asks psql, the connector and a whole `bemi proxy`, and describes where they differ.
pub async fn disagreement(what: &str, connection_string: &str, home: &Path) -> (Verdict, Option<String>) {
    let ours = verdict::of_upstream(connection_string, home).await;
    let (text, home) = (connection_string.to_owned(), home.to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        (verdict::of_psql(&text, &home), verdict::of_proxy(&text, &home))
    });
    let (psql, proxy) = asked.await.expect("psql and a proxy");
    let differ = [&ours, &proxy]
        .iter()
        .any(|verdict| verdict.is_accepted() != psql.is_accepted());
    let text = differ.then(|| {
        format!(
            "{what}: {connection_string}\n  psql: {}\n  connector: {}\n  bemi proxy: {}",
            psql.reason(),
            ours.reason(),
            proxy.reason()
        )
    });
    (psql, text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn psql_and_upstream_agree_on_every_certificate_in_every_mode() {
    let directory = tempfile::tempdir().expect("a directory");
    let home = directory.path().join("home");
    std::fs::create_dir(&home).expect("a home");
    let cases = cases::all(directory.path());
    let cluster = server(&cases[0].server, None, ClusterOptions::default()).await;
    let mut complaints = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        show(&cluster, &case.server, &home).await;
        complaints.extend(try_case(case, index % 8 == 0, cluster.port(), directory.path(), &home).await);
    }
    assert!(
        complaints.is_empty(),
        "{} complaints:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}

/// Asks in every mode; with `is_everything` also without root certificates, and as a user who may stay in the clear.
async fn try_case(case: &Case, is_everything: bool, port: u16, directory: &Path, home: &Path) -> Vec<String> {
    let trusted = directory.join("trusted.crt");
    std::fs::write(&trusted, &case.trusted).expect("trusted.crt");
    let missing = directory.join("missing.crt");
    let port = port.to_string();
    let mut questions = Vec::new();
    for mode in MODES {
        for root in [Some(&trusted), None, Some(&missing)] {
            for user in ["tls_only", "postgres"] {
                let is_trusted = root == Some(&trusted);
                // Where there is nothing to verify with, or a fallback, most certificates are all the same.
                if !(is_everything || is_trusted && user == "tls_only" || root.is_none() && mode == "require")
                {
                    continue;
                }
                let mut pairs = vec![
                    ("host", case.host),
                    ("hostaddr", "127.0.0.1"),
                    ("port", &port),
                    ("user", user),
                    ("dbname", "postgres"),
                    ("sslmode", mode),
                ];
                pairs.extend(root.map(|path| ("sslrootcert", path.to_str().expect("a path"))));
                questions.push((mode, is_trusted, connection_string(&pairs)));
            }
        }
    }
    let asked = questions.into_iter().map(|(mode, is_trusted, text)| {
        let (what, home, strongest) = (case.what, home.to_owned(), case.strongest);
        tokio::spawn(async move {
            let (psql, mut complaint) = disagreement(what, &text, &home).await;
            let expected = match mode {
                "verify-full" => strongest == Strongest::VerifyFull,
                "verify-ca" => strongest != Strongest::Nothing,
                _ => psql.is_accepted(),
            };
            if is_trusted && psql.is_accepted() != expected {
                complaint = Some(format!(
                    "{what}: {text}\n  not as expected: psql: {}",
                    psql.reason()
                ));
            }
            complaint
        })
    });
    let mut complaints = Vec::new();
    for answer in asked.collect::<Vec<_>>() {
        complaints.extend(answer.await.expect("an answer"));
    }
    complaints
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_certificates_in_the_home_directory_count_as_for_psql() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = Authority::new("root", UNCHANGED);
    let other = Authority::new("other root", UNCHANGED);
    let cluster = server(
        &root.issue("db.example", &["db.example"], UNCHANGED),
        None,
        ClusterOptions::default(),
    )
    .await;
    let port = cluster.port().to_string();
    let mut verdicts = Vec::new();
    for (name, trusted) in [
        ("right", Some(root.pem())),
        ("wrong", Some(other.pem())),
        ("none", None),
    ] {
        let home = directory.path().join(name);
        std::fs::create_dir_all(home.join(".postgresql")).expect("a home");
        if let Some(trusted) = trusted {
            std::fs::write(home.join(".postgresql/root.crt"), trusted).expect("root.crt");
        }
        for mode in MODES {
            let pairs = [
                ("host", "db.example"),
                ("hostaddr", "127.0.0.1"),
                ("port", &port),
                ("user", "tls_only"),
                ("dbname", "postgres"),
                ("sslmode", mode),
            ];
            let (psql, complaint) = disagreement(name, &connection_string(&pairs), &home).await;
            assert_eq!(complaint, None);
            verdicts.push((name, mode, psql.is_accepted()));
        }
    }
    let accepted: Vec<_> = verdicts
        .into_iter()
        .filter(|(_, _, accepted)| *accepted)
        .map(|(home, mode, _)| (home, mode))
        .collect();
    let right = ["allow", "prefer", "require", "verify-ca", "verify-full"].map(|mode| ("right", mode));
    let none = ["allow", "prefer", "require"].map(|mode| ("none", mode));
    assert_eq!(accepted, [&right[..], &none[..]].concat());
}
