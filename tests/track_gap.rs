//! Where changes are missing, `bemi track` stops and says so, and goes on only when it is told to.

mod support;

use std::time::{Duration, Instant};

use bemi::demo::cluster::{Cluster, ClusterOptions};
use bemi::replication::Lsn;
use rustix::process::Signal;
use support::track_process::TrackProcess;
use tokio_postgres::Client;

const PATIENCE: Duration = Duration::from_secs(30);

/// A database with a table, its tracker, and a session on both source and destination, which are one.
struct Followed {
    client: Client,
    tracker: TrackProcess,
    slot: String,
}

impl Followed {
    async fn new(cluster: &Cluster) -> Self {
        let database = support::database(cluster).await;
        let client = support::connect(cluster.port(), &database).await;
        client
            .batch_execute("CREATE TABLE todo (id int PRIMARY KEY)")
            .await
            .unwrap();
        // Slots belong to the whole server.
        let slot = format!("slot_{database}");
        let tracker = TrackProcess::on(cluster, &database, &["--slot", &slot, "--tables", "todo"]);
        let followed = Self {
            client,
            tracker,
            slot,
        };
        followed
            .until("SELECT to_regclass('changes_progress') IS NOT NULL")
            .await;
        followed
            .until("SELECT count(*) = 1 FROM changes_progress WHERE lsn IS NOT NULL")
            .await;
        followed.write(1).await;
        followed
    }

    /// Writes a row and waits until it is stored.
    async fn write(&self, id: i32) {
        self.insert(id).await;
        self.until(&format!(
            "SELECT count(*) = 1 FROM changes WHERE primary_key = '{id}'"
        ))
        .await;
    }

    async fn insert(&self, id: i32) {
        self.client
            .execute("INSERT INTO todo VALUES ($1)", &[&id])
            .await
            .unwrap();
    }

    async fn until(&self, condition: &str) {
        until(&self.client, &self.tracker, condition).await;
    }

    /// Ends the tracker as one does, and waits until its slot is free.
    async fn stop(&mut self) {
        self.tracker.signal(Signal::TERM);
        assert!(
            self.tracker.end_within(PATIENCE).success(),
            "{}",
            self.tracker.log()
        );
        let slot = &self.slot;
        self.until(&format!(
            "SELECT NOT active FROM pg_replication_slots WHERE slot_name = '{slot}'"
        ))
        .await;
    }

    async fn progress(&self) -> Lsn {
        let row = self
            .client
            .query_one("SELECT lsn::text FROM changes_progress", &[])
            .await
            .unwrap();
        row.get::<_, &str>(0).parse().unwrap()
    }

    /// It stops, twice, for this reason, and names the way on.
    fn refuses(&mut self, reason: &str) {
        for _ in 0..2 {
            let before = self.tracker.log().len();
            self.tracker.start_again(&[]);
            let status = self.tracker.end_within(PATIENCE);
            let said = self.tracker.log().split_off(before);
            assert_eq!(status.code(), Some(1), "{said}");
            for words in [reason, "changes are missing", "--accept-gap"] {
                assert!(said.contains(words), "{words:?} is not in:\n{said}");
            }
        }
    }

    /// Told to, it goes on behind the gap, writes that down, and next time needs not be told.
    async fn goes_on_when_told(&mut self, from: Lsn, reason: &str) {
        self.tracker.start_again(&["--accept-gap"]);
        self.until("SELECT count(*) = 1 FROM changes_gaps").await;
        let gap = self
            .client
            .query_one(
                "SELECT from_lsn::text, to_lsn::text, reason, \"table\" FROM changes_gaps",
                &[],
            )
            .await
            .unwrap();
        let [begin, end] = [0, 1].map(|column| gap.get::<_, &str>(column).parse::<Lsn>().unwrap());
        assert_eq!(begin, from);
        assert!(end > from, "from {begin} to {end}");
        assert!(
            gap.get::<_, &str>(2).contains(reason),
            "{}",
            gap.get::<_, &str>(2)
        );
        assert_eq!(gap.get::<_, Option<&str>>(3), None);
        self.write(1_000).await;
        self.stop().await;
        self.tracker.start_again(&[]);
        self.write(1_001).await;
        self.until("SELECT count(*) = 1 FROM changes_gaps").await;
    }
}

#[tokio::test]
async fn a_slot_that_was_dropped_is_a_gap() {
    let mut followed = Followed::new(support::cluster()).await;
    followed.stop().await;
    let from = followed.progress().await;
    let drop = "SELECT pg_drop_replication_slot($1)";
    followed.client.execute(drop, &[&followed.slot]).await.unwrap();
    followed.insert(2).await;
    followed.refuses("the replication slot is gone");
    followed
        .goes_on_when_told(from, "the replication slot is gone")
        .await;
    let lost = "SELECT count(*) = 0 FROM changes WHERE primary_key = '2'";
    followed.until(lost).await;
}

#[tokio::test]
async fn a_slot_that_the_server_gave_up_is_a_gap() {
    let options = ClusterOptions::default()
        .setting("max_slot_wal_keep_size", "1MB")
        .setting("max_wal_size", "32MB");
    let cluster = Cluster::start(&options).unwrap();
    let mut followed = Followed::new(&cluster).await;
    followed.stop().await;
    let from = followed.progress().await;
    for id in 2..6 {
        followed.insert(id).await;
        followed
            .client
            .execute("SELECT pg_switch_wal()", &[])
            .await
            .unwrap();
    }
    followed.client.batch_execute("CHECKPOINT").await.unwrap();
    followed
        .until("SELECT wal_status = 'lost' FROM pg_replication_slots")
        .await;
    followed.refuses("the server has given the replication slot up");
    followed
        .goes_on_when_told(from, "the server has given the replication slot up")
        .await;
}

#[tokio::test]
async fn a_publication_that_was_dropped_is_a_gap() {
    let mut followed = Followed::new(support::cluster()).await;
    followed.stop().await;
    let from = followed.progress().await;
    followed
        .client
        .batch_execute("DROP PUBLICATION bemi")
        .await
        .unwrap();
    followed.insert(2).await;
    followed.refuses("the publication is gone");
    followed.goes_on_when_told(from, "the publication is gone").await;
}

#[tokio::test]
async fn a_destination_that_was_set_back_is_a_gap() {
    let mut followed = Followed::new(support::cluster()).await;
    let from = followed.progress().await;
    followed.write(2).await;
    followed.stop().await;
    // As a restored backup has it: without the change, and with the progress of that time.
    let set_back =
        format!("DELETE FROM changes WHERE primary_key = '2'; UPDATE changes_progress SET lsn = '{from}'");
    followed.client.batch_execute(&set_back).await.unwrap();
    followed.refuses("the replication slot is ahead of what is stored");
    followed
        .goes_on_when_told(from, "the replication slot is ahead of what is stored")
        .await;
}

#[tokio::test]
async fn another_server_in_the_place_of_the_source_is_a_gap() {
    let [first, second] = [(); 2].map(|()| Cluster::start(&ClusterOptions::default()).unwrap());
    let destination = support::cluster();
    let database = support::database(destination).await;
    let store = destination.url(&database, &[("sslmode", "disable")]);
    let changes = support::connect(destination.port(), &database).await;
    let mut sources = Vec::new();
    for server in [&first, &second] {
        let client = support::connect(server.port(), "postgres").await;
        client
            .batch_execute("CREATE TABLE todo (id int PRIMARY KEY)")
            .await
            .unwrap();
        sources.push(client);
    }
    let track = |server: &Cluster| {
        TrackProcess::start(
            &server.url("postgres", &[("sslmode", "disable")]),
            Some(&store),
            &[],
        )
    };
    let mut tracker = track(&first);
    until(
        &changes,
        &tracker,
        "SELECT to_regclass('changes_progress') IS NOT NULL",
    )
    .await;
    until(
        &changes,
        &tracker,
        "SELECT count(*) = 1 FROM changes_progress WHERE lsn IS NOT NULL",
    )
    .await;
    sources[0]
        .batch_execute("INSERT INTO todo VALUES (1)")
        .await
        .unwrap();
    until(&changes, &tracker, "SELECT count(*) = 1 FROM changes").await;
    tracker.signal(Signal::TERM);
    assert!(tracker.end_within(PATIENCE).success());

    let mut other = track(&second);
    assert_eq!(other.end_within(PATIENCE).code(), Some(1), "{}", other.log());
    assert!(other.log().contains("this is another server"), "{}", other.log());

    // The first one is still the one that is followed.
    tracker.start_again(&[]);
    sources[0]
        .batch_execute("INSERT INTO todo VALUES (2)")
        .await
        .unwrap();
    until(&changes, &tracker, "SELECT count(*) = 2 FROM changes").await;
}

#[tokio::test]
async fn what_changed_in_a_new_table_before_it_is_followed_is_a_gap_of_that_table() {
    let cluster = support::cluster();
    let database = support::database(cluster).await;
    let client = support::connect(cluster.port(), &database).await;
    client
        .batch_execute("CREATE TABLE todo (id int PRIMARY KEY)")
        .await
        .unwrap();
    let slot = format!("slot_{database}");
    let arguments = [
        "--slot",
        &slot,
        "--tables",
        "todo,todo_later",
        "--set",
        "track.tables_interval=1s",
    ];
    let tracker = TrackProcess::on(cluster, &database, &arguments);
    until(
        &client,
        &tracker,
        "SELECT to_regclass('changes_progress') IS NOT NULL",
    )
    .await;
    let begun = "SELECT count(*) = 1 FROM changes_progress WHERE lsn IS NOT NULL";
    until(&client, &tracker, begun).await;
    client
        .batch_execute("CREATE TABLE todo_later (id int PRIMARY KEY); INSERT INTO todo_later VALUES (1)")
        .await
        .unwrap();
    let gap = "SELECT count(*) = 1 FROM changes_gaps WHERE \"table\" = 'todo_later' AND from_lsn < to_lsn";
    until(&client, &tracker, gap).await;
    client
        .batch_execute("INSERT INTO todo_later VALUES (2)")
        .await
        .unwrap();
    let stored = "SELECT count(*) = 1 FROM changes WHERE primary_key = '2'";
    until(&client, &tracker, stored).await;
    until(&client, &tracker, "SELECT count(*) = 1 FROM changes_gaps").await;
}

async fn until(client: &Client, tracker: &TrackProcess, condition: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !client.query_one(condition, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(Instant::now() < deadline, "never: {condition}\n{}", tracker.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
