//! `bemi demo`: what it says, what it concludes, and that it leaves nothing behind.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bemi::config::url::UpstreamUrl;
use bemi::demo::cluster::{Cluster, ClusterOptions, ServerTls};
use bemi::demo::{DemoError, Options, Style, run, start_proxy};
use bemi::proxy::StartError;
use bemi::tls::generate::authority_and_server;
use support::database;
use tempfile::TempDir;
use tokio_postgres::NoTls;

const PLAIN: Style = Style {
    color: false,
    width: 80,
};

/// No proxy at all: the address of the server itself.
async fn no_proxy(_server: UpstreamUrl) -> Result<SocketAddr, StartError> {
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, support::cluster().port())))
}

/// On the tests' own server, as if it were somebody's.
async fn demonstrate<P>(user: &str, database: &str, start_proxy: P) -> (Result<(), DemoError>, String)
where
    P: AsyncFnOnce(UpstreamUrl) -> Result<SocketAddr, StartError>,
{
    let port = support::cluster().port();
    let url = format!("postgresql://{user}@127.0.0.1:{port}/{database}?sslmode=disable");
    let options = Options {
        keep: false,
        upstream: Some(url),
    };
    let mut output = Vec::new();
    let outcome = run(&options, PLAIN, &mut output, start_proxy).await;
    (outcome, String::from_utf8(output).unwrap())
}

/// Schemas, publications and slots that the demonstration made. Its slot goes with its connection, which the server
/// clears away in its own time: a second at most.
async fn leftovers(database: &str) -> i64 {
    let client = support::connect(support::cluster().port(), database).await;
    let mut left = count_leftovers(&client).await;
    for _ in 0..100 {
        if left == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        left = count_leftovers(&client).await;
    }
    left
}

async fn count_leftovers(client: &tokio_postgres::Client) -> i64 {
    let count = "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'bemi%')
        + (SELECT count(*) FROM pg_publication WHERE pubname LIKE 'bemi%')
        + (SELECT count(*) FROM pg_replication_slots WHERE database = current_database() AND slot_name LIKE 'bemi%')";
    client.query_one(count, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn every_change_is_shown_with_its_context_and_nothing_is_left() {
    let database = database(support::cluster()).await;
    let (outcome, shown) = demonstrate("postgres", &database, start_proxy).await;
    assert!(outcome.is_ok(), "{outcome:?}\n{shown}");
    assert!(shown.contains("INSERT bemi_demo_"), "{shown}");
    assert!(shown.contains("done  f -> t"), "{shown}");
    assert_eq!(
        shown.matches("187234").count(),
        5,
        "the SET, and one context per write:\n{shown}"
    );
    assert!(shown.ends_with("only another host and port.\n"), "{shown}");
    assert_eq!(leftovers(&database).await, 0);
}

#[tokio::test]
async fn changes_without_context_fail_the_demonstration_and_nothing_is_left() {
    let database = database(support::cluster()).await;
    let (outcome, shown) = demonstrate("postgres", &database, no_proxy).await;
    assert!(
        matches!(
            outcome,
            Err(DemoError::Unexpected {
                step: 2,
                expected: 2,
                found: 2,
                bare: 2
            })
        ),
        "{outcome:?}\n{shown}"
    );
    assert_eq!(leftovers(&database).await, 0);
}

#[tokio::test]
async fn a_role_without_rights_is_told_which_ones_and_nothing_is_left() {
    let database = database(support::cluster()).await;
    let client = support::connect(support::cluster().port(), &database).await;
    client
        .batch_execute("CREATE ROLE bare LOGIN; CREATE ROLE half LOGIN")
        .await
        .unwrap();
    client
        .batch_execute(&format!("GRANT CREATE ON DATABASE {database} TO half"))
        .await
        .unwrap();

    let (outcome, _) = demonstrate("bare", &database, start_proxy).await;
    let text = outcome.unwrap_err().to_string();
    assert!(
        text.starts_with("cannot make a schema") && text.contains("GRANT CREATE ON DATABASE"),
        "{text}"
    );

    let (outcome, _) = demonstrate("half", &database, start_proxy).await;
    let text = outcome.unwrap_err().to_string();
    assert!(
        text.starts_with("cannot make a logical replication slot") && text.contains("REPLICATION"),
        "{text}"
    );
    assert_eq!(leftovers(&database).await, 0);
}

#[tokio::test]
async fn the_rights_that_are_advised_are_enough_also_with_tls_and_a_password() {
    let certificate = authority_and_server(&["localhost", "127.0.0.1"]).unwrap();
    let options = ClusterOptions {
        tls: Some(ServerTls {
            cert_pem: certificate.cert_pem,
            key_pem: certificate.key_pem,
            client_ca_pem: None,
        }),
        hba: Some("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n".to_owned()),
        ..ClusterOptions::default()
    };
    let cluster = Cluster::start(&options).unwrap();
    let socket = format!(
        "host={} port={} user=postgres",
        cluster.socket_dir().display(),
        cluster.port()
    );
    let (admin, connection) = tokio_postgres::connect(&socket, NoTls).await.unwrap();
    tokio::spawn(connection);
    for statement in [
        "CREATE ROLE plain LOGIN REPLICATION PASSWORD 'p@ss word'",
        "CREATE DATABASE app",
        "GRANT CREATE ON DATABASE app TO plain",
    ] {
        admin.batch_execute(statement).await.unwrap();
    }
    cluster.write_file("authority.crt", &certificate.ca_pem).unwrap();

    let authority = cluster.data_dir().join("authority.crt").display().to_string();
    let url = cluster.url("app", &[("sslmode", "verify-full"), ("sslrootcert", &authority)]);
    let url = url.replace("//postgres@", "//plain:p%40ss%20word@");
    let (child, _place) = program(&["--upstream", &url]);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.stderr.escape_ascii());
    assert!(
        output.stdout.ends_with(b"host and port.\n"),
        "{}",
        output.stdout.escape_ascii()
    );

    let (child, _place) = program(&["--upstream", &url.replace("word@", "wrong@")]);
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("28P01") && !errors.contains("wrong"), "{errors}");
}

/// The program with its temporary files in a directory that can be looked at afterwards.
fn program(arguments: &[&str]) -> (Child, TempDir) {
    let place = tempfile::tempdir().unwrap();
    // The server runs as another account when the tests run as root.
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_bemi"))
        .arg("demo")
        .args(arguments)
        .env("TMPDIR", place.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (child, place)
}

/// A minimal system has `kill` only in its shell.
fn signal(child: &Child, name: &str) {
    let status = Command::new("/bin/sh")
        .args(["-c", "kill $0 $1", name, &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

fn files(place: &TempDir) -> usize {
    fs::read_dir(place.path()).unwrap().count()
}

#[test]
fn the_program_shows_everything_over_tls_and_leaves_nothing() {
    let (child, place) = program(&[]);
    let output = child.wait_with_output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.is_empty(), "{shown}\n{errors}");
    assert!(shown.contains("-> TLSv1.3 -> PostgreSQL"), "{shown}");
    assert!(
        shown.contains("\"/todo/import\"\n"),
        "the comment's key:\n{shown}"
    );
    assert!(!shown.contains('\x1b'), "colours in a pipe:\n{shown}");
    assert_eq!(files(&place), 0);
}

#[test]
fn interrupted_at_any_moment_the_program_leaves_nothing() {
    for (name, delay) in [("-TERM", 50), ("-TERM", 700), ("-KILL", 1000)] {
        let (mut child, place) = program(&["--keep"]);
        std::thread::sleep(Duration::from_millis(delay));
        signal(&child, name);
        child.wait().unwrap();
        let mut left = files(&place);
        for _ in 0..200 {
            if left == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
            left = files(&place);
        }
        assert_eq!(left, 0, "{name} after {delay} ms");
    }
}

#[tokio::test]
async fn kept_up_it_says_where_to_connect_and_shows_what_others_write() {
    let (mut child, place) = program(&["--keep"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let command = lines
        .find(|line| line.contains("psql '"))
        .expect("a command to connect with");
    let url = command
        .trim()
        .trim_start_matches("psql '")
        .trim_end_matches('\'')
        .to_owned();

    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
        .batch_execute("SET bemi.context = '{\"user_id\": 42}'")
        .await
        .unwrap();
    client
        .batch_execute("INSERT INTO todo (task) VALUES ('Mine')")
        .await
        .unwrap();
    let seen = lines
        .find(|line| line.contains("user_id") && line.contains("42"))
        .expect("the context");
    assert!(seen.contains("INSERT todo"), "{seen}");

    signal(&child, "-INT");
    assert!(child.wait().unwrap().success());
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(errors, "");
    assert_eq!(files(&place), 0);
}
