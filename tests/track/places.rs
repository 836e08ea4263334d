//! Where source and destination may be.

use std::time::Duration;

use bemi::demo::cluster::{Cluster, ClusterOptions, ServerTls};
use bemi::tls::generate::{Generated, authority_and_server};
use serde_json::json;
use tokio_postgres::Client;

use crate::support;
use crate::tracker::{Tracker, cluster, contexts, outlines, run_to_its_end};

const T: &str = "CREATE TABLE t (id int PRIMARY KEY)";

async fn count(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.expect("a count").get(0)
}

/// Each of its own writes would be a change to be written.
#[tokio::test]
async fn what_it_writes_itself_is_not_recorded_in_the_same_database() {
    for arguments in [
        &["--set", "track.status_interval=50ms"][..],
        &["--retention", "30d", "--exclude", "x"],
    ] {
        let mut tracker = Tracker::on(T, arguments).await;
        tracker.run("INSERT INTO t SELECT generate_series(1, 1000)").await;
        tracker.caught_up().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        tracker.caught_up().await;
        let client = &tracker.destination;
        assert_eq!(
            count(
                client,
                "SELECT count(*) FROM changes WHERE \"table\" LIKE 'changes%'"
            )
            .await,
            0
        );
        assert_eq!(count(client, "SELECT count(*) FROM changes").await, 1_002);
    }
}

#[tokio::test]
async fn the_destination_may_be_another_database_and_take_several_sources() {
    let destination = support::database(cluster()).await;
    let url = cluster().url(&destination, &[]);
    let mut trackers = Vec::new();
    for id in [1, 2] {
        let database = support::database(cluster()).await;
        let source = cluster().url(&database, &[]);
        let client = support::connect(cluster().port(), &destination).await;
        let arguments = ["--source", &*source, "--destination", &*url];
        let tracker = Tracker::start(&database, client, "public", &arguments).await;
        // `changes` of the source are not those of the destination.
        tracker.run(&format!("{T}; INSERT INTO t VALUES ({id}); CREATE TABLE changes (id int PRIMARY KEY); INSERT INTO changes VALUES (1)")).await;
        trackers.push(tracker);
    }
    for tracker in &mut trackers {
        // The table of sentinels is in both of them.
        tracker.run("INSERT INTO sentinel (id) OVERRIDING SYSTEM VALUE SELECT 1000 + oid::bigint FROM pg_database WHERE datname = current_database()").await;
        tracker.run("SELECT setval('sentinel_id_seq', 10000 + oid::bigint) FROM pg_database WHERE datname = current_database()").await;
        tracker.caught_up().await;
    }
    let of = |number: usize| {
        format!(
            "SELECT count(*) FROM changes WHERE database = '{}' AND \"table\" IN ('t', 'changes')",
            trackers[number].database()
        )
    };
    let client = &trackers[0].destination;
    assert_eq!((count(client, &of(0)).await, count(client, &of(1)).await), (2, 2));
    assert_eq!(count(client, "SELECT count(*) FROM changes_progress").await, 2);
    // The source has no table of the tracker's.
    let made = "SELECT count(*) FROM pg_class WHERE relname IN ('changes_progress', 'changes_gaps')";
    assert_eq!(count(&trackers[0].source, made).await, 0);
}

/// A server that lets the role `tracker` in with a password, over TLS alone.
struct Guarded {
    cluster: Cluster,
    directory: tempfile::TempDir,
}

impl Guarded {
    async fn start(name: &str) -> Self {
        let certificates: Generated = authority_and_server(&["127.0.0.1"]).expect("certificates");
        let options = ClusterOptions {
            hba: Some("hostnossl all postgres all trust\nhostssl all tracker all scram-sha-256\n".into()),
            tls: Some(ServerTls {
                cert_pem: certificates.cert_pem.clone(),
                key_pem: certificates.key_pem.clone(),
                client_ca_pem: None,
            }),
            ..ClusterOptions::default()
        };
        let cluster = tokio::task::spawn_blocking(move || Cluster::start(&options))
            .await
            .expect("no panic");
        let cluster = cluster.unwrap_or_else(|error| panic!("{name}: {error}"));
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("ca.crt"), &certificates.ca_pem).expect("a file");
        let client = support::connect(cluster.port(), "postgres").await;
        client
            .batch_execute("SET password_encryption = 'scram-sha-256'; CREATE ROLE tracker SUPERUSER LOGIN PASSWORD 'p@ss w/rd'")
            .await
            .expect("a role");
        Self { cluster, directory }
    }

    fn url(&self, password: &str) -> String {
        format!(
            "postgresql://tracker:{password}@127.0.0.1:{}/postgres?sslmode=verify-full&sslrootcert={}&channel_binding=require",
            self.cluster.port(),
            self.directory.path().join("ca.crt").display()
        )
    }

    async fn client(&self) -> Client {
        support::connect(self.cluster.port(), "postgres").await
    }
}

const PASSWORD: &str = "p%40ss%20w%2Frd";

#[tokio::test]
async fn both_may_be_servers_that_are_verified_and_ask_for_a_password_bound_to_the_channel() {
    let (source, destination) = (
        Guarded::start("source").await,
        Guarded::start("destination").await,
    );
    let urls = [source.url(PASSWORD), destination.url(PASSWORD)];
    let arguments = ["--source", &*urls[0], "--destination", &*urls[1]];
    let clients = (source.client().await, destination.client().await);
    let mut tracker = Tracker::between(clients.0, clients.1, "bemi", "public", &arguments).await;
    tracker
        .run(&format!("{T}; BEGIN; SELECT pg_logical_emit_message(true, '_bemi', '{{\"who\": 1}}'); INSERT INTO t VALUES (1); COMMIT"))
        .await;
    let changes = tracker.changes("t").await;
    assert_eq!(
        (outlines(&changes), contexts(&changes)),
        (vec!["CREATE 1".to_owned()], vec![json!({"who": 1})])
    );
    let sessions =
        "SELECT count(*) FILTER (WHERE ssl), count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                     WHERE usename = 'tracker'";
    for client in [&tracker.source, &tracker.destination] {
        let row = client.query_one(sessions, &[]).await.expect("the sessions");
        let (encrypted, all): (i64, i64) = (row.get(0), row.get(1));
        assert!(encrypted == all && all >= 2, "{encrypted} of {all}");
    }
    assert!(
        !tracker.log().contains("w/rd") && !tracker.log().contains(PASSWORD),
        "{}",
        tracker.log()
    );
    let wrong = source.url("wrong");
    let (code, _, error) = run_to_its_end("other", &["--source", &wrong, "--destination", &urls[1]]).await;
    assert!(code == Some(1) && error.contains("28P01"), "{error}");
    // A certificate of somebody else is not taken for the server's; it may be in place soon.
    let mistaken = urls[0].replace(
        &source.directory.path().display().to_string(),
        &destination.directory.path().display().to_string(),
    );
    let arguments = ["--source", &*mistaken, "--destination", &*urls[1]];
    let run = run_to_its_end("other", &arguments);
    assert!(tokio::time::timeout(Duration::from_secs(2), run).await.is_err());
    let slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'other'";
    assert_eq!(count(&tracker.source, slots).await, 0);
}
