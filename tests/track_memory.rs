//! Whatever is in the log, `bemi track` stays within its memory: the peak of a real process, as the kernel tells it.
//!
//! `BEMI_ROWS=5000000 cargo test --test track_memory` makes the large transactions larger.

#![cfg(target_os = "linux")]

mod support;

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::sleep;
use tokio_postgres::Client;

/// The default of `track.memory_limit_bytes`, in KiB.
const DEFAULT_LIMIT: u64 = 256 << 10;

/// The smallest that the configuration takes.
const SMALLEST_LIMIT: u64 = 64 << 10;

/// For each 100,000 rows. Longer than anything takes on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(90);

/// 50 MB that nothing can compress.
const RANDOM: &str = "(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 1562500))";

/// 50 MB of which every character has an escape in JSON, and in COPY.
const ESCAPED: &str = r#"repeat(E'"\n\\\t', 12500000)"#;

/// A value of 50 MB takes the server half a gigabyte for a moment: one test at a time.
static TURN: Mutex<()> = Mutex::const_new(());

/// A running tracker between two databases of one server.
struct Tracked {
    process: Child,
    directory: TempDir,
    source: Client,
    destination: Client,
    _turn: MutexGuard<'static, ()>,
}

impl Tracked {
    /// On a database with these tables; with this limit in KiB.
    async fn on(tables: &str, limit: u64) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let turn = TURN.lock().await;
        let cluster = support::cluster();
        let (from, to) = (support::database(cluster).await, support::database(cluster).await);
        let source = support::connect(cluster.port(), &from).await;
        let destination = support::connect(cluster.port(), &to).await;
        source
            .batch_execute("CREATE TABLE last (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)")
            .await
            .unwrap();
        source.batch_execute(tables).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bemi"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BEMI_") {
                command.env_remove(name);
            }
        }
        let process = command
            .args(["track", "--upstream", &cluster.url(&from, &[])])
            .args(["--destination", &cluster.url(&to, &[])])
            .args([
                "--slot",
                &format!("memory_{}", COUNT.fetch_add(1, Ordering::Relaxed)),
            ])
            .args([
                "--set",
                &format!("track.memory_limit_bytes={}", limit << 10),
                "--log-level",
                "warn",
            ])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut tracked = Self {
            process,
            directory,
            source,
            destination,
            _turn: turn,
        };
        let begins = "SELECT to_regclass('changes_progress') IS NOT NULL AND EXISTS
                        (SELECT FROM pg_stat_replication WHERE application_name = 'bemi track' AND state <> 'startup')";
        tracked.until(begins, PATIENCE).await;
        tracked
    }

    async fn until(&mut self, condition: &str, patience: Duration) {
        let deadline = Instant::now() + patience;
        while !ask::<bool>(&self.destination, condition).await {
            let ended = self.process.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{ended:?}; {condition}; {}",
                self.log()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn run(&self, sql: &str) {
        let done = self.source.batch_execute(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Waits until all that was written before is stored; nothing of it may have made the tracker start again.
    async fn has_stored_all(&mut self) {
        let query = "INSERT INTO last DEFAULT VALUES RETURNING id";
        let last: i64 = ask(&self.source, query).await;
        let stored = format!(
            r#"SELECT EXISTS (SELECT FROM changes WHERE "table" = 'last' AND primary_key = '{last}')"#
        );
        let patience = PATIENCE * u32::try_from(rows() / 100_000).unwrap();
        self.until(&stored, patience).await;
        assert_eq!(self.log(), "");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// The most memory that the process has ever taken up is less than this, in KiB (proc(5), `VmHWM`).
    fn stayed_under(&self, limit: u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        let peak: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
        println!("peak: {} MiB of {} MiB", peak >> 10, limit >> 10);
        assert!(peak < limit, "{peak} KiB");
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

async fn ask<T: for<'a> tokio_postgres::types::FromSql<'a>>(client: &Client, query: &str) -> T {
    let row = client.query_one(query, &[]).await;
    row.unwrap_or_else(|error| panic!("{query}: {error:?}")).get(0)
}

/// Rows of a large transaction.
fn rows() -> i64 {
    let rows = std::env::var("BEMI_ROWS").ok();
    rows.map_or(300_000, |rows| rows.parse().expect("BEMI_ROWS is a number"))
}

fn insert_many() -> String {
    format!(
        "INSERT INTO todo SELECT n, 'Sleep ' || n FROM generate_series(1, {}) n",
        rows()
    )
}

const TODO: &str = "CREATE TABLE todo (id bigint PRIMARY KEY, task text)";

/// How many rows have this context.
async fn with_context(tracked: &Tracked, context: &str) -> i64 {
    let query =
        format!(r#"SELECT count(*) FROM changes WHERE "table" = 'todo' AND context = '{context}'::jsonb"#);
    ask(&tracked.destination, &query).await
}

/// Their upkeep is most of the time, and nothing of the tracker's memory.
const WITHOUT_INDEXES: &str = "DROP INDEX changes_context_idx, changes_before_idx, changes_after_idx";

#[tokio::test]
async fn a_transaction_of_many_rows_without_a_context_takes_no_more_than_others() {
    let mut tracked = Tracked::on(TODO, DEFAULT_LIMIT).await;
    tracked.destination.batch_execute(WITHOUT_INDEXES).await.unwrap();
    tracked.run(&insert_many()).await;
    tracked.has_stored_all().await;
    assert_eq!(with_context(&tracked, "{}").await, rows());
    tracked.stayed_under(DEFAULT_LIMIT);
}

#[tokio::test]
async fn a_transaction_of_many_rows_with_its_context_last_takes_no_more_than_others() {
    let mut tracked = Tracked::on(TODO, DEFAULT_LIMIT).await;
    tracked.destination.batch_execute(WITHOUT_INDEXES).await.unwrap();
    let message = r#"SELECT pg_logical_emit_message(true, '_bemi', '{"user_id": 187234}')"#;
    tracked
        .run(&format!("BEGIN; {}; {message}; COMMIT", insert_many()))
        .await;
    tracked.has_stored_all().await;
    assert_eq!(with_context(&tracked, r#"{"user_id": 187234}"#).await, rows());
    tracked.stayed_under(DEFAULT_LIMIT);
}

/// A table for large values, which are stored as they are.
const BOOK: &str = "CREATE TABLE book (id bigint PRIMARY KEY, stars int, body text);
     ALTER TABLE book REPLICA IDENTITY FULL; ALTER TABLE book ALTER body SET STORAGE EXTERNAL";

/// Operation, digests of the value before and after, and whether the row is complete.
type StoredDigests = (String, Option<String>, Option<String>, bool);

/// Operation, before, after, incomplete.
type StoredRows = (String, Option<Json>, Option<Json>, Option<Json>);

/// Inserts, updates and deletes values of 50 MB; the update's message has two.
async fn keeps_large_values(value: &str) {
    let mut tracked = Tracked::on(BOOK, DEFAULT_LIMIT).await;
    let body = "SELECT md5(body) FROM book";
    tracked
        .run(&format!("INSERT INTO book VALUES (1, 5, {value})"))
        .await;
    let first: String = ask(&tracked.source, body).await;
    // The value does not change, and is in the message once.
    tracked.run("UPDATE book SET stars = 4").await;
    tracked
        .run(&format!("UPDATE book SET body = {value} || 'The End.'"))
        .await;
    let second: String = ask(&tracked.source, body).await;
    tracked.run("DELETE FROM book").await;
    tracked.has_stored_all().await;
    let query = r#"SELECT operation, md5(before ->> 'body'), md5(after ->> 'body'), incomplete IS NULL
                     FROM changes WHERE "table" = 'book' ORDER BY id"#;
    let stored = tracked.destination.query(query, &[]).await.unwrap();
    let stored: Vec<StoredDigests> = stored
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
        .collect();
    let (first, second) = (|| Some(first.clone()), || Some(second.clone()));
    let expected = [
        ("CREATE".to_owned(), None, first(), true),
        ("UPDATE".to_owned(), first(), first(), true),
        ("UPDATE".to_owned(), first(), second(), true),
        ("DELETE".to_owned(), second(), None, true),
    ];
    assert_eq!(stored, expected);
    tracked.stayed_under(DEFAULT_LIMIT);
}

#[tokio::test]
async fn values_of_50_megabytes_are_stored_completely() {
    keeps_large_values(RANDOM).await;
}

#[tokio::test]
async fn values_of_50_megabytes_that_json_escapes_are_stored_completely() {
    keeps_large_values(ESCAPED).await;
}

#[tokio::test]
async fn a_value_that_is_too_long_is_left_out_and_listed() {
    let mut tracked = Tracked::on(BOOK, SMALLEST_LIMIT).await;
    tracked
        .run(&format!("INSERT INTO book VALUES (1, 5, {RANDOM})"))
        .await;
    tracked
        .run(&format!("UPDATE book SET stars = 4, body = {RANDOM}"))
        .await;
    tracked.run("DELETE FROM book").await;
    tracked.has_stored_all().await;
    let query = r#"SELECT operation, before::text, after::text, incomplete::text FROM changes WHERE "table" = 'book' ORDER BY id"#;
    let stored = tracked.destination.query(query, &[]).await.unwrap();
    let stored: Vec<StoredRows> = stored
        .iter()
        .map(|row| (row.get(0), json_of(row, 1), json_of(row, 2), json_of(row, 3)))
        .collect();
    let row = |stars: i32| Some(json!({"id": 1, "stars": stars}));
    let incomplete = || Some(json!({"too_long": ["body"]}));
    let expected = [
        ("CREATE".to_owned(), None, row(5), incomplete()),
        ("UPDATE".to_owned(), row(5), row(4), incomplete()),
        ("DELETE".to_owned(), row(4), None, incomplete()),
    ];
    assert_eq!(stored, expected);
    tracked.stayed_under(SMALLEST_LIMIT);
}

fn json_of(row: &tokio_postgres::Row, place: usize) -> Option<Json> {
    let text: Option<&str> = row.get(place);
    text.map(|text| serde_json::from_str(text).unwrap())
}

#[tokio::test]
async fn values_just_within_the_limit_follow_each_other_in_the_smallest_memory() {
    let mut tracked = Tracked::on(BOOK, SMALLEST_LIMIT).await;
    // Each message is a little larger than the one before, and right behind it: none fits where that was.
    let insert = |megabytes: usize| {
        let times = megabytes * 31_250;
        format!(
            "INSERT INTO book VALUES ({megabytes}, 5,
               (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, {times})))"
        )
    };
    let inserts = [1, 2, 4, 7, 11, 16, 22, 29, 30, 31].map(insert).join(";");
    tracked.run(&format!("BEGIN; {inserts}; COMMIT")).await;
    tracked.has_stored_all().await;
    let query = r#"SELECT array_agg(length(after ->> 'body') / 1000000 ORDER BY id) FROM changes WHERE "table" = 'book'"#;
    let lengths: Vec<i32> = ask(&tracked.destination, query).await;
    assert_eq!(lengths, [1, 2, 4, 7, 11, 16, 22, 29, 30, 31]);
    tracked.stayed_under(SMALLEST_LIMIT);
}

#[tokio::test]
async fn thousands_of_tables_are_remembered_in_little_memory() {
    let mut tracked = Tracked::on("", SMALLEST_LIMIT).await;
    tracked
        .run(
            "DO $$ BEGIN FOR n IN 1 .. 5000 LOOP
               EXECUTE format('CREATE TABLE table_%s (id bigint PRIMARY KEY, name text, created_at timestamptz, tags text[])', n);
               EXECUTE format('INSERT INTO table_%s VALUES (1)', n);
               IF n % 200 = 0 THEN COMMIT; END IF;
             END LOOP; END $$",
        )
        .await;
    tracked.has_stored_all().await;
    let query = r#"SELECT count(DISTINCT "table") FROM changes WHERE "table" LIKE 'table\_%'"#;
    assert_eq!(ask::<i64>(&tracked.destination, query).await, 5_000);
    tracked.stayed_under(SMALLEST_LIMIT);
}
