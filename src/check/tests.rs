//! Findings of real servers.

use tokio::net::TcpStream;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, NoTls};

use super::report::{Finding, Mark, Report};
use super::server::{ServerFacts, findings};
use super::{queries, session};
use crate::config::{Config, Inject, Pooler};
use crate::demo::cluster::{Cluster, ClusterOptions, ServerTls};
use crate::proxy::stream::Socket;
use crate::tls::generate::authority_and_server;

async fn login(server: &Cluster, user: &str) -> Client {
    let stream = TcpStream::connect(("127.0.0.1", server.port()))
        .await
        .expect("a connection");
    let mut config = tokio_postgres::Config::new();
    config.user(user).dbname("postgres").ssl_mode(SslMode::Disable);
    let (client, connection) = config.connect_raw(stream, NoTls).await.expect("a login");
    tokio::spawn(connection);
    client
}

async fn ask(server: &Cluster, user: &str) -> ServerFacts {
    queries::ask(&login(server, user).await).await.expect("facts")
}

fn to_mend(facts: &ServerFacts) -> Vec<Finding> {
    let all = findings(facts, Pooler::None, &Inject::default());
    all.into_iter()
        .filter(|finding| finding.mark == Mark::Mend)
        .collect()
}

#[tokio::test]
async fn what_the_report_says_to_run_mends_a_real_server() {
    let server = Cluster::start(&ClusterOptions::default()).expect("a server");
    let admin = login(&server, server.superuser()).await;
    let setup = "
        create role bob login;
        revoke execute on function pg_logical_emit_message(boolean, text, text) from public;
        create table with_key (id int primary key);
        create table \"No Key\" (a int);
        create table nothing (id int primary key);
        alter table nothing replica identity nothing;
        create table lost_index (a int not null unique);
        alter table lost_index replica identity using index lost_index_a_key;
        alter table lost_index drop constraint lost_index_a_key;
        create table deferrable_key (id int primary key deferrable);
        create unlogged table cache (a int);
        create table parted (a int) partition by list (a);
        create table parted_1 partition of parted for values in (1);";
    // The function has one argument more since version 17.
    let setup = match ask(&server, server.superuser()).await.version_num {
        ..170_000 => setup.to_owned(),
        _ => setup.replace("boolean, text, text", "boolean, text, text, boolean"),
    };
    admin.batch_execute(&setup).await.expect("setup");

    let facts = ask(&server, "bob").await;
    let mends = to_mend(&facts);
    let subjects: Vec<&str> = mends.iter().map(|finding| finding.subject).collect();
    assert_eq!(subjects, ["pg_logical_emit_message", "replica identity"]);
    let remedies: Vec<&str> = mends
        .iter()
        .flat_map(|finding| &finding.remedy)
        .map(String::as_str)
        .collect();
    assert_eq!(
        remedies.get(1..),
        Some(
            [
                "ALTER TABLE public.\"No Key\" REPLICA IDENTITY FULL;",
                "ALTER TABLE public.deferrable_key REPLICA IDENTITY FULL;",
                "ALTER TABLE public.lost_index REPLICA IDENTITY FULL;",
                "ALTER TABLE public.nothing REPLICA IDENTITY DEFAULT;",
                "ALTER TABLE public.parted_1 REPLICA IDENTITY FULL;",
            ]
            .as_slice()
        )
    );

    admin
        .batch_execute(&remedies.concat())
        .await
        .expect("what the report says to run");
    assert_eq!(to_mend(&ask(&server, "bob").await), []);
}

#[tokio::test]
async fn wal_level_and_standby_are_seen_on_a_real_server() {
    let options = ClusterOptions::default().setting("wal_level", "replica");
    let mut server = Cluster::start(&options).expect("a server");
    let facts = ask(&server, server.superuser()).await;
    assert!(facts.is_direct && !facts.in_recovery);
    let mends = to_mend(&facts);
    assert_eq!(mends.first().map(|finding| finding.subject), Some("wal_level"));

    let admin = login(&server, server.superuser()).await;
    let first = mends
        .first()
        .and_then(|finding| finding.remedy.first())
        .expect("a remedy");
    admin.batch_execute(first).await.expect("ALTER SYSTEM");
    drop(admin);
    server.write_file("standby.signal", "").expect("a file");
    server.restart().expect("a restart");
    let facts = ask(&server, server.superuser()).await;
    assert!(facts.in_recovery);
    assert_eq!(to_mend(&facts), []);
}

/// The only finding of a session that could not be had.
async fn refusal(server: &Cluster, url: &str) -> (Mark, String) {
    let stream = TcpStream::connect(("127.0.0.1", server.port()))
        .await
        .expect("a connection");
    let config = Config::new(url.parse().expect("a URL"));
    let found = session::look_around(Socket::Tcp(stream).into(), &config).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let finding = found.into_iter().next().expect("one");
    assert_eq!(finding.subject, "login");
    (finding.mark, finding.what)
}

#[tokio::test]
async fn a_login_that_fails_says_what_the_server_said() {
    let hba = "host all all 127.0.0.1/32 scram-sha-256".to_owned();
    let options = ClusterOptions {
        hba: Some(hba),
        password: Some("right".to_owned()),
        ..ClusterOptions::default()
    };
    let server = Cluster::start(&options).expect("a server");
    let url = |login: &str| format!("postgresql://{login}127.0.0.1:{}/postgres", server.port());

    let (mark, what) = refusal(&server, &url("")).await;
    assert!(mark == Mark::Note && what.contains("names no user"), "{what}");
    let (mark, what) = refusal(&server, &url("postgres@")).await;
    assert!(
        mark == Mark::Note && what.contains("asks for a password"),
        "{what}"
    );
    let (mark, what) = refusal(&server, &url("postgres:wrong@")).await;
    assert!(
        mark == Mark::Mend && what.contains("password authentication failed") && what.contains("28P01"),
        "{what}"
    );

    let stream = TcpStream::connect(("127.0.0.1", server.port()))
        .await
        .expect("a connection");
    let config = Config::new(url("postgres:right@").parse().expect("a URL"));
    let found = session::look_around(Socket::Tcp(stream).into(), &config).await;
    assert!(
        found.iter().all(|finding| finding.mark != Mark::Mend),
        "{found:?}"
    );
    assert!(found.len() > 3, "{found:?}");
}

async fn check(url: &str) -> Report {
    super::run(&Config::new(url.parse().expect("a URL")), None).await
}

fn found(report: &Report, subject: &str) -> (Mark, String) {
    let finding = report
        .findings
        .iter()
        .find(|finding| finding.subject == subject)
        .expect("a finding");
    (finding.mark, finding.what.clone())
}

#[tokio::test]
async fn tls_is_tried_as_the_url_asks() {
    let made = authority_and_server(&["localhost", "127.0.0.1"]).expect("a certificate");
    let tls = ServerTls {
        cert_pem: made.cert_pem,
        key_pem: made.key_pem,
        client_ca_pem: None,
    };
    let server = Cluster::start(&ClusterOptions {
        tls: Some(tls),
        ..ClusterOptions::default()
    })
    .expect("a server");
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca.crt");
    std::fs::write(&ca, &made.ca_pem).expect("a file");
    let ca = ca.to_str().expect("UTF-8");

    let good = check(&server.url("postgres", &[("sslmode", "verify-full"), ("sslrootcert", ca)])).await;
    assert!(good.is_ready(), "{good}");
    let (mark, what) = found(&good, "TLS");
    assert!(
        mark == Mark::Fine && what.contains("localhost, 127.0.0.1"),
        "{what}"
    );

    let other = authority_and_server(&["localhost"]).expect("a certificate");
    std::fs::write(ca, &other.ca_pem).expect("a file");
    let untrusted = check(&server.url("postgres", &[("sslmode", "verify-full"), ("sslrootcert", ca)])).await;
    assert_eq!(found(&untrusted, "server").0, Mark::Mend);
    assert!(!untrusted.is_ready());

    let missing = check(&server.url(
        "postgres",
        &[("sslmode", "verify-full"), ("sslrootcert", "/no/such")],
    ))
    .await;
    assert_eq!(found(&missing, "TLS").0, Mark::Mend);

    let clear = check(&server.url("postgres", &[("sslmode", "disable"), ("schema", "x")])).await;
    assert_eq!(
        found(&clear, "TLS"),
        (Mark::Fine, "none, as sslmode=disable asks".to_owned())
    );
    assert_eq!(
        found(&clear, "URL"),
        (Mark::Note, "the proxy has no use for schema".to_owned())
    );
}

#[tokio::test]
async fn who_does_not_answer_is_to_be_mended() {
    let report = check("postgresql://bob:hunter2@127.0.0.1:1/app").await;
    assert_eq!(found(&report, "server").0, Mark::Mend);
    assert!(!report.to_string().contains("hunter2"), "{report}");
}
