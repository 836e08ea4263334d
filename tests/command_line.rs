//! The program as its user meets it: exit codes, messages, signals.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bemi::demo::cluster::{Cluster, ClusterOptions};
use tokio_postgres::{Client, NoTls};

/// Never reached: nobody listens on port 1.
const NOWHERE: &str = "postgresql://bob:hunter2@127.0.0.1:1/app";

/// `bemi` in `directory`, without any of our variables.
fn bemi(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bemi"));
    command
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BEMI_") {
            command.env_remove(name);
        }
    }
    command
}

/// Exit code, standard output and standard error.
fn run(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = bemi(directory, arguments).output().expect("bemi");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn wrong_usage_and_wrong_configuration_end_with_2_and_say_where() {
    let directory = tempfile::tempdir().expect("a directory");
    let (code, _, error) = run(directory.path(), &["proxy"]);
    assert!(code == Some(2) && error.contains("BEMI_UPSTREAM"), "{error}");
    let (code, _, error) = run(directory.path(), &["proxy", NOWHERE]);
    assert!(
        code == Some(2) && error.contains("unexpected argument") && !error.contains("hunter2"),
        "{error}"
    );
    let (code, _, error) = run(
        directory.path(),
        &["proxy", "--upstream", NOWHERE, "--config", "no.toml"],
    );
    assert!(code == Some(2) && error.contains("no.toml"), "{error}");

    std::fs::write(
        directory.path().join("proxy.toml"),
        "\n[limts]\nmax_connections = 1\n",
    )
    .expect("a file");
    let (code, _, error) = run(directory.path(), &["check", "--upstream", NOWHERE]);
    assert_eq!(code, Some(2));
    assert_eq!(
        error,
        "bemi: proxy.toml:3: unknown key \"limts.max_connections\"; the nearest known one is \"limits.max_connections\"\n"
    );

    std::fs::write(
        directory.path().join("proxy.toml"),
        "[tls]\ncertificate = 'no.crt'\nkey = 'no.key'\n",
    )
    .expect("a file");
    let (code, _, error) = run(
        directory.path(),
        &["proxy", "--upstream", NOWHERE, "--listen", "127.0.0.1:0"],
    );
    assert!(code == Some(2) && error.contains("no.crt"), "{error}");
}

#[test]
fn flags_environment_and_file_meet_in_the_printed_configuration() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(
        directory.path().join("proxy.toml"),
        "threads = 1\n[log]\nlevel = 'warn'\nformat = 'json'\n",
    )
    .expect("a file");
    let output = bemi(directory.path(), &["proxy", "--print-config", "--threads", "3"])
        .env("BEMI_UPSTREAM", NOWHERE)
        .env("BEMI_LOG_LEVEL", "debug")
        .output()
        .expect("bemi");
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0));
    for line in ["threads = 3", "log.level = \"debug\"", "log.format = \"json\""] {
        assert!(printed.lines().any(|printed| printed == line), "{printed}");
    }
    assert!(
        printed.contains("bob@127.0.0.1:1/app") && !printed.contains("hunter2"),
        "{printed}"
    );
}

#[test]
fn a_check_ends_with_1_until_nothing_is_to_be_mended() {
    let directory = tempfile::tempdir().expect("a directory");
    let (code, report, _) = run(directory.path(), &["check", "--upstream", NOWHERE]);
    assert!(
        code == Some(1) && report.contains("MEND  server:") && !report.contains("hunter2"),
        "{report}"
    );
    let server = Cluster::start(&ClusterOptions::default()).expect("a server");
    let (code, report, _) = run(
        directory.path(),
        &["check", "--upstream", &server.url("postgres", &[])],
    );
    assert!(
        code == Some(0) && report.ends_with("Nothing to mend.\n"),
        "{report}"
    );
}

/// A running `bemi proxy`, killed when dropped.
struct Running {
    process: Child,
    log: BufReader<ChildStderr>,
    address: String,
}

impl Running {
    /// In front of `server`, with the `proxy.toml` of `directory`.
    fn start(directory: &Path, server: &Cluster) -> Self {
        let mut process = bemi(directory, &["proxy", "--listen", "127.0.0.1:0"])
            .env("BEMI_UPSTREAM", server.url("postgres", &[]))
            .stderr(Stdio::piped())
            .spawn()
            .expect("bemi");
        let log = BufReader::new(process.stderr.take().expect("standard error"));
        let mut running = Self {
            process,
            log,
            address: String::new(),
        };
        let started = running.logged("started");
        let (_, rest) = started.split_once("listen=\"").expect("an address");
        running.address = rest.split('"').next().expect("an address").to_owned();
        running
    }

    /// The next line of the log that contains `text`.
    fn logged(&mut self, text: &str) -> String {
        let mut line = String::new();
        while self.log.read_line(&mut line).expect("a line") > 0 {
            if line.contains(text) {
                return line;
            }
            line.clear();
        }
        panic!("the log ended without {text:?}");
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .expect("kill")
                .success()
        );
    }

    async fn connect(&self) -> Client {
        let url = format!("postgresql://postgres@{}/postgres", self.address);
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("a connection");
        tokio::spawn(connection);
        client
    }

    fn is_healthy(&self, directory: &Path) -> bool {
        run(directory, &["health", &self.address]).0 == Some(0)
    }

    /// The exit code, which must come soon.
    fn exit_code(&mut self) -> Option<i32> {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(10) {
            if let Some(status) = self.process.try_wait().expect("a status") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it did not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a process that has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until the other side has closed the connection.
async fn closed(client: &Client) {
    let closing = async {
        while !client.is_closed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closing)
        .await
        .expect("the connection is closed");
}

#[tokio::test]
async fn sigterm_lets_a_transaction_finish_and_ends_with_0() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Cluster::start(&ClusterOptions::default()).expect("a server");
    let mut proxy = Running::start(directory.path(), &server);
    assert!(proxy.is_healthy(directory.path()));
    let (busy, idle) = (proxy.connect().await, proxy.connect().await);
    busy.batch_execute("create table t (a int); begin; insert into t values (1)")
        .await
        .expect("a transaction");
    idle.batch_execute("select 1").await.expect("an answer");

    proxy.signal("TERM");
    proxy.logged("told to stop");
    closed(&idle).await;
    assert!(!proxy.is_healthy(directory.path()));
    busy.batch_execute("insert into t values (2); commit")
        .await
        .expect("the transaction may finish");
    assert_eq!(proxy.exit_code(), Some(0));

    let (client, connection) = tokio_postgres::connect(&server.url("postgres", &[]), NoTls)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    assert_eq!(client.query("select a from t", &[]).await.expect("rows").len(), 2);
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Cluster::start(&ClusterOptions::default()).expect("a server");
    let mut proxy = Running::start(directory.path(), &server);
    let client = proxy.connect().await;
    client.batch_execute("begin").await.expect("a transaction");
    proxy.signal("TERM");
    proxy.logged("told to stop");
    proxy.signal("INT");
    assert_eq!(proxy.exit_code(), Some(0));
    assert!(client.batch_execute("commit").await.is_err());
}

#[tokio::test]
async fn sighup_takes_a_good_configuration_and_refuses_a_bad_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("proxy.toml");
    let server = Cluster::start(&ClusterOptions::default()).expect("a server");
    let mut proxy = Running::start(directory.path(), &server);

    std::fs::write(&file, "thread = 1").expect("a file");
    proxy.signal("HUP");
    let refused = proxy.logged("the old one stays");
    assert!(refused.contains("proxy.toml:1: unknown key"), "{refused}");

    std::fs::write(&file, "[tls]\ncertificate = 'no.crt'\nkey = 'no.key'").expect("a file");
    proxy.signal("HUP");
    let refused = proxy.logged("the old one stays");
    assert!(refused.contains("no.crt"), "{refused}");

    std::fs::write(&file, "threads = 1\n[limits]\nmax_connections = 1").expect("a file");
    proxy.signal("HUP");
    proxy.logged("read again");
    let restart = proxy.logged("only a restart");
    assert!(
        restart.contains("threads") && !restart.contains("max_connections"),
        "{restart}"
    );
    let only = proxy.connect().await;
    let url = format!("postgresql://postgres@{}/postgres", proxy.address);
    let refusal = tokio_postgres::connect(&url, NoTls)
        .await
        .err()
        .expect("one too many");
    assert_eq!(refusal.code().map(|code| code.code()), Some("53300"));
    drop(only);
}

#[test]
fn the_demonstration_shows_each_row_change_with_its_context() {
    let directory = tempfile::tempdir().expect("a directory");
    let (code, shown, error) = run(directory.path(), &["demo"]);
    assert_eq!(code, Some(0), "{error}");
    for text in [
        "INSERT todo",
        "UPDATE todo",
        "DELETE todo",
        "user_id   187234",
        "\"/todo/import\"",
        "TLSv1.",
    ] {
        assert!(shown.contains(text), "{text} is missing in\n{shown}");
    }
}
