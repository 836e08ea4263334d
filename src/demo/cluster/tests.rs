use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

use super::place::{is_about_a_taken_port, last_lines, says_ready, setting_line};
use super::{Cluster, ClusterError, ClusterOptions};

async fn connect(cluster: &Cluster) -> Client {
    let (client, connection) = tokio_postgres::connect(&cluster.url("postgres", &[]), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

async fn show(cluster: &Cluster, setting: &str) -> String {
    connect(cluster)
        .await
        .query_one(&format!("SHOW {setting}"), &[])
        .await
        .unwrap()
        .get(0)
}

fn gone(dir: &Path) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while dir.exists() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    !dir.exists()
}

fn server_pid(cluster_dir: &Path) -> String {
    let text = fs::read_to_string(cluster_dir.join("data/postmaster.pid")).unwrap();
    text.lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn a_cluster_decodes_logically_and_leaves_nothing_behind() {
    let cluster = Cluster::start(&ClusterOptions::default()).unwrap();
    assert_eq!(show(&cluster, "wal_level").await, "logical");
    assert_eq!(
        show(&cluster, "server_version").await.split(' ').next(),
        Some(&*cluster.server_version().text)
    );
    assert!(
        cluster
            .socket_dir()
            .join(format!(".s.PGSQL.{}", cluster.port()))
            .exists()
    );
    let (dir, pid) = (cluster.socket_dir().to_owned(), server_pid(cluster.socket_dir()));
    cluster.stop();
    assert!(!dir.exists());
    assert!(!PathBuf::from(format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn settings_hba_and_password_are_the_callers() {
    let options = ClusterOptions {
        superuser: "the owner".to_owned(),
        password: Some("p@ss:w/rd".to_owned()),
        hba: Some("host all all 127.0.0.1/32 scram-sha-256\n".to_owned()),
        ..ClusterOptions::default()
    }
    .setting("work_mem", "7MB")
    .setting("bemi.note", "it's \\ here");
    let mut cluster = Cluster::start(&options).unwrap();
    assert_eq!(show(&cluster, "work_mem").await, "7MB");
    assert_eq!(show(&cluster, "bemi.note").await, "it's \\ here");

    let wrong = cluster.url("postgres", &[]).replace("p%40ss", "pass");
    assert!(tokio_postgres::connect(&wrong, NoTls).await.is_err());

    let client = connect(&cluster).await;
    cluster.set("work_mem", "9MB").unwrap();
    cluster.restart().unwrap();
    assert!(client.simple_query("SELECT 1").await.is_err());
    assert_eq!(show(&cluster, "work_mem").await, "9MB");
}

#[tokio::test]
async fn a_server_that_was_killed_starts_again_with_what_was_committed() {
    let mut cluster = Cluster::start(&ClusterOptions::default()).unwrap();
    connect(&cluster)
        .await
        .batch_execute("CREATE TABLE t AS SELECT 1 AS id")
        .await
        .unwrap();
    for is_killed in [true, false] {
        let client = connect(&cluster).await;
        client.batch_execute("INSERT INTO t VALUES (2)").await.unwrap();
        if is_killed {
            cluster.kill()
        } else {
            cluster.stop_immediately()
        }
        .unwrap();
        // A backend notices that its postmaster was killed when it next waits; until then it answers what it reads.
        let deadline = Instant::now() + Duration::from_secs(10);
        while client.simple_query("SELECT 1").await.is_ok() {
            assert!(
                Instant::now() < deadline,
                "the killed server's backend still answers"
            );
        }
        cluster.start_again().unwrap();
    }
    let row = connect(&cluster)
        .await
        .query_one("SELECT count(*) FROM t", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 3);
    assert!(
        cluster
            .log()
            .unwrap()
            .contains("database system was not properly shut down")
    );
}

#[test]
fn a_server_that_refuses_its_settings_says_so_and_leaves_nothing() {
    let options = ClusterOptions::default().setting("shared_buffers", "plenty");
    let error = Cluster::start(&options).unwrap_err();
    assert!(matches!(&error, ClusterError::DidNotStart { .. }), "{error:?}");
    assert!(error.to_string().contains("shared_buffers"), "{error}");
}

/// Run by itself only as the child of the test below.
#[test]
fn starts_a_cluster_and_waits_to_be_killed() {
    if env::var_os("BEMI_TEST_WAIT_TO_BE_KILLED").is_none() {
        return;
    }
    let cluster = Cluster::start(&ClusterOptions::default()).unwrap();
    println!("\ncluster:{}", cluster.socket_dir().display());
    thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_process_killed_by_any_signal_leaves_nothing_behind() {
    // Not SIGINT, which a shell makes its background jobs ignore, and these their children.
    for signal in ["-KILL", "-TERM"] {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "demo::cluster::tests::starts_a_cluster_and_waits_to_be_killed",
                "--nocapture",
            ])
            .env("BEMI_TEST_WAIT_TO_BE_KILLED", "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let dir = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("cluster:").map(PathBuf::from))
            .expect("the child says where its cluster is");
        let pid = server_pid(&dir);
        Command::new("/bin/sh")
            .args(["-c", "kill $0 $1", signal, &child.id().to_string()])
            .status()
            .unwrap();
        child.wait().unwrap();
        assert!(gone(&dir), "{signal}: {} is still there", dir.display());
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(
            state.is_empty() || state.contains(") Z "),
            "{signal}: the server still runs: {state}"
        );
    }
}

#[test]
fn several_clusters_run_side_by_side() {
    let starts: Vec<_> = (0..2)
        .map(|_| thread::spawn(|| Cluster::start(&ClusterOptions::default()).unwrap()))
        .collect();
    let clusters: Vec<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
    assert_ne!(clusters[0].port(), clusters[1].port());
    assert_ne!(clusters[0].data_dir(), clusters[1].data_dir());
}

#[test]
fn only_the_status_line_makes_a_server_ready() {
    let file = |status: &str| format!("1\n/d\n2\n5432\n/d\n127.0.0.1\n  1 2\n{status}\n");
    assert!(says_ready(&file("ready   "), 1));
    assert!(!says_ready(&file("starting"), 1));
    assert!(!says_ready("1\n/d\n2\n5432\n/d\n127.0.0.1\n", 1));
    assert!(
        !says_ready(&file("ready   "), 2),
        "left behind by one that was killed"
    );
}

#[test]
fn a_setting_survives_its_quotes() {
    assert_eq!(setting_line("a.b", r"it's a \ b"), "a.b = 'it''s a \\\\ b'\n");
}

#[test]
fn a_taken_port_is_told_from_other_failures() {
    assert!(is_about_a_taken_port(
        "LOG:  could not bind IPv4 address \"127.0.0.1\": Address already in use\nFATAL:  could not create any TCP/IP sockets"
    ));
    assert!(!is_about_a_taken_port(
        "FATAL:  invalid value for parameter \"shared_buffers\": \"plenty\""
    ));
}

#[test]
fn only_the_end_of_a_long_log_is_shown() {
    let log: String = (0..100).map(|number| format!("line {number}\n")).collect();
    assert!(last_lines(&log).starts_with("line 85\n") && last_lines(&log).ends_with("line 99"));
    assert_eq!(last_lines("one\n"), "one");
}
