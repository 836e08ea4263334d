//! A destination that is slow, or away for a while, costs time and nothing else; servers can be shut down as ever.

mod support;

use std::time::{Duration, Instant};

use bemi::demo::cluster::{Cluster, ClusterOptions};
use rustix::process::{Pid, Signal, kill_process};
use support::track_process::TrackProcess;
use tokio_postgres::Client;

const PATIENCE: Duration = Duration::from_secs(120);

/// 300 MB of changes: so many rows of 10 kB each, which compress well in the log, and are unpacked before they are sent.
const ROWS: i64 = 30_000;
const WRITE: &str =
    "INSERT INTO todo SELECT i, repeat(md5(i::text), 320) FROM generate_series($1::bigint, $2::bigint) i";

/// What the tracker may take up at most: `track.memory_limit_bytes`.
const MEMORY_LIMIT_KIB: u64 = 256 << 10;

/// Two servers and the tracker between them, which has stored a first row.
struct Followed {
    source: Cluster,
    destination: Cluster,
    tracker: TrackProcess,
}

impl Followed {
    async fn new() -> Self {
        let options = ClusterOptions::default().setting("wal_sender_timeout", "2s");
        let source = Cluster::start(&options).unwrap();
        let destination = Cluster::start(&ClusterOptions::default()).unwrap();
        let client = support::connect(source.port(), "postgres").await;
        client
            .batch_execute("CREATE TABLE todo (id bigint PRIMARY KEY, task text)")
            .await
            .unwrap();
        let urls = [&source, &destination].map(|server| server.url("postgres", &[("sslmode", "disable")]));
        let tracker = TrackProcess::start(&urls[0], Some(&urls[1]), &["--set", "track.max_backoff=1s"]);
        let followed = Self {
            source,
            destination,
            tracker,
        };
        followed
            .until(
                &client,
                "SELECT count(*) = 1 FROM pg_replication_slots WHERE active",
            )
            .await;
        followed.write(&client, 1, 1).await;
        followed.has_stored(1).await;
        followed
    }

    async fn source(&self) -> Client {
        support::connect(self.source.port(), "postgres").await
    }

    async fn write(&self, client: &Client, first: i64, last: i64) {
        client.execute(WRITE, &[&first, &last]).await.unwrap();
    }

    async fn has_stored(&self, rows: i64) {
        let client = support::connect(self.destination.port(), "postgres").await;
        self.until(&client, &format!("SELECT count(*) = {rows} FROM changes"))
            .await;
    }

    async fn until(&self, client: &Client, condition: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !client.query_one(condition, &[]).await.unwrap().get::<_, bool>(0) {
            assert!(
                Instant::now() < deadline,
                "never: {condition}\n{}",
                self.tracker.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The most memory that the tracker has ever taken up (proc(5), `VmHWM`).
    fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.tracker.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    fn stayed_within_its_memory(&self) {
        let peak = self.peak_memory_kib();
        println!("peak: {} MiB", peak >> 10);
        assert!(peak < MEMORY_LIMIT_KIB, "{peak} KiB");
    }
}

#[tokio::test]
#[cfg_attr(not(target_os = "linux"), ignore = "reads /proc")]
async fn a_destination_that_stands_still_costs_bounded_memory_and_no_connection() {
    let followed = Followed::new().await;
    let source = followed.source().await;
    let sender = "SELECT pid FROM pg_stat_replication WHERE application_name = 'bemi track'";
    let before: i32 = source.query_one(sender, &[]).await.unwrap().get(0);
    let destination = support::connect(followed.destination.port(), "postgres").await;
    let sessions = "SELECT pid FROM pg_stat_activity WHERE application_name = 'bemi track'";
    let sessions = destination.query(sessions, &[]).await.unwrap();
    let sessions: Vec<Pid> = sessions
        .iter()
        .map(|row| Pid::from_raw(row.get(0)).unwrap())
        .collect();
    assert!(!sessions.is_empty());
    for pid in &sessions {
        kill_process(*pid, Signal::STOP).unwrap();
    }
    let began = Instant::now();
    followed.write(&source, 2, ROWS).await;
    // Three times as long as the source waits for an answer.
    tokio::time::sleep(Duration::from_secs(6).saturating_sub(began.elapsed())).await;
    let after: i32 = source.query_one(sender, &[]).await.unwrap().get(0);
    for pid in &sessions {
        kill_process(*pid, Signal::CONT).unwrap();
    }
    assert_eq!(before, after, "another connection:\n{}", followed.tracker.log());
    followed.has_stored(ROWS).await;
    followed.stayed_within_its_memory();
    assert!(
        !followed.tracker.log().contains("WARN"),
        "{}",
        followed.tracker.log()
    );
}

#[tokio::test]
#[cfg_attr(not(target_os = "linux"), ignore = "reads /proc")]
async fn a_destination_that_is_away_costs_bounded_memory() {
    let mut followed = Followed::new().await;
    let source = followed.source().await;
    followed.destination.stop_immediately().unwrap();
    followed.write(&source, 2, ROWS).await;
    followed.destination.start_again().unwrap();
    followed.has_stored(ROWS).await;
    followed.stayed_within_its_memory();
}

#[tokio::test]
async fn a_source_that_is_shut_down_need_not_wait_for_the_tracker_which_waits_for_it() {
    let mut followed = Followed::new().await;
    // Something in the log that is no change, which the tracker has no other reason to confirm.
    let source = followed.source().await;
    source
        .batch_execute("CREATE TABLE empty (id int PRIMARY KEY)")
        .await
        .unwrap();
    let began = Instant::now();
    followed.source.restart().unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let source = followed.source().await;
    followed.write(&source, 2, 2).await;
    followed.has_stored(2).await;
}
