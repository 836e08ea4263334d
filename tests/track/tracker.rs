//! A tracker on a database of its own, and what it has stored there.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bemi::demo::cluster::{Cluster, ClusterOptions};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::time::sleep;
use tokio_postgres::{Client, Row};

use crate::support;

/// Longer than anything takes on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// A table whose rows show that everything before them has been stored.
const SENTINEL: &str =
    "CREATE TABLE IF NOT EXISTS sentinel (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)";

/// The server that the tests of this binary share. Each test has a slot of its own, and leaves it behind.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let options = ClusterOptions::default()
            .setting("max_replication_slots", "200")
            .setting("max_wal_senders", "100");
        Cluster::start(&options).expect("a throw-away server")
    })
}

/// Whether the server is of this major version or a later one.
pub fn is_at_least(major: u32) -> bool {
    cluster().server_version().major >= major
}

/// A running `bemi track`, killed when it is dropped.
pub struct Tracker {
    child: Child,
    directory: TempDir,
    database: String,
    /// A session on the source.
    pub source: Client,
    /// A session on the database with the table `changes`.
    pub destination: Client,
    schema: &'static str,
}

impl Tracker {
    /// On a new database with these tables, which is source and destination.
    pub async fn on(tables: &str, arguments: &[&str]) -> Self {
        let database = support::database(cluster()).await;
        let source = support::connect(cluster().port(), &database).await;
        source.batch_execute(tables).await.expect("the test's tables");
        Self::follow(&database, arguments).await
    }

    /// On a database that is there.
    pub async fn follow(database: &str, arguments: &[&str]) -> Self {
        let destination = support::connect(cluster().port(), database).await;
        let mut all = vec!["--source".to_owned(), cluster().url(database, &[])];
        all.extend(arguments.iter().map(ToString::to_string));
        let arguments: Vec<&str> = all.iter().map(String::as_str).collect();
        Self::start(database, destination, "public", &arguments).await
    }

    /// On a database that is there, with a new one in UTF8 as destination.
    pub async fn beside(database: &str, arguments: &[&str]) -> Self {
        let beside = support::database(cluster()).await;
        let destination = support::connect(cluster().port(), &beside).await;
        let (source, url) = (cluster().url(database, &[]), cluster().url(&beside, &[]));
        let mut all = vec!["--source", &source, "--destination", &url];
        all.extend(arguments);
        Self::start(database, destination, "public", &all).await
    }

    /// With a destination that the arguments name, and its `changes` in this schema.
    pub async fn start(
        database: &str,
        destination: Client,
        schema: &'static str,
        arguments: &[&str],
    ) -> Self {
        let source = support::connect(cluster().port(), database).await;
        Self::between(source, destination, database, schema, arguments).await
    }

    /// Between servers that the arguments name; its slot is called `slot`.
    pub async fn between(
        source: Client,
        destination: Client,
        slot: &str,
        schema: &'static str,
        arguments: &[&str],
    ) -> Self {
        source
            .batch_execute(SENTINEL)
            .await
            .expect("the sentinel's table");
        let directory = tempfile::tempdir().expect("a directory");
        let child = spawn(directory.path(), slot, arguments);
        let mut tracker = Self {
            child,
            directory,
            database: slot.to_owned(),
            source,
            destination,
            schema,
        };
        tracker.wait_until_it_follows().await;
        tracker
    }

    /// Until the slot is read: what is written from now on arrives. While it is made, the slot is active as well.
    async fn wait_until_it_follows(&mut self) {
        let began = Instant::now();
        let is_read = "SELECT count(*) FROM pg_replication_slots JOIN pg_stat_replication ON pid = active_pid
                        WHERE slot_name = $1";
        while self
            .source
            .query_one(is_read, &[&self.database])
            .await
            .expect("the slots")
            .get::<_, i64>(0)
            == 0
        {
            self.check_that_it_runs(began, "has not begun to follow");
            sleep(LOOK).await;
        }
    }

    fn check_that_it_runs(&mut self, since: Instant, what: &str) {
        let ended = self.child.try_wait().expect("the state of the process");
        assert!(ended.is_none(), "it has ended: {ended:?}\n{}", self.log());
        assert!(since.elapsed() < PATIENCE, "it {what}:\n{}", self.log());
    }

    /// Runs statements on the source.
    pub async fn run(&self, sql: &str) {
        let done = self.source.batch_execute(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {:?}", error.as_db_error()));
    }

    /// Waits until everything that is committed on the source by now has been stored.
    pub async fn caught_up(&mut self) {
        let row = self
            .source
            .query_one("INSERT INTO sentinel DEFAULT VALUES RETURNING id", &[])
            .await;
        let id: i64 = row.expect("a sentinel row").get(0);
        let arrived = format!(
            "SELECT count(*) FROM {}.changes WHERE \"table\" = 'sentinel' AND primary_key = $1",
            self.schema
        );
        let began = Instant::now();
        while self
            .destination
            .query_one(&arrived, &[&id.to_string()])
            .await
            .expect("the changes")
            .get::<_, i64>(0)
            == 0
        {
            self.check_that_it_runs(began, "has not caught up");
            sleep(LOOK).await;
        }
    }

    /// What has been stored of this table, in the order of the source.
    pub async fn changes(&mut self, table: &str) -> Vec<Change> {
        self.caught_up().await;
        self.stored(table).await
    }

    /// As [`Tracker::changes`], without waiting.
    pub async fn stored(&self, table: &str) -> Vec<Change> {
        let query = format!(
            "SELECT schema, \"table\", primary_key, previous_primary_key, operation, before::text, after::text,
                    incomplete::text, context::text, transaction_id, database
               FROM {}.changes WHERE \"table\" = $1 ORDER BY id",
            self.schema
        );
        let rows = self
            .destination
            .query(&query, &[&table])
            .await
            .expect("the changes");
        rows.iter().map(Change::from).collect()
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("its process id");
        kill_process(pid, Signal::TERM).expect("a signal sent");
        self.ended().await
    }

    /// Waits until it ends.
    pub async fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the state of the process") {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it goes on:\n{}", self.log());
            sleep(LOOK).await;
        }
    }

    /// Starts it anew, after [`Tracker::stop`].
    pub async fn start_again(&mut self, arguments: &[&str]) {
        let mut all = vec!["--source".to_owned(), cluster().url(&self.database, &[])];
        all.extend(arguments.iter().map(ToString::to_string));
        let arguments: Vec<&str> = all.iter().map(String::as_str).collect();
        self.child = spawn(self.directory.path(), &self.database, &arguments);
        self.wait_until_it_follows().await;
    }

    /// What it has said since it was started.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The database that it follows, which its slot is called after as well.
    pub fn database(&self) -> &str {
        &self.database
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// `bemi track` in a directory of its own, without any of our variables.
pub fn bemi_track(directory: &Path, slot: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bemi"));
    command
        .arg("track")
        .args(["--slot", slot, "--set", "track.flush_interval=10ms"])
        .args(["--set", "track.max_backoff=1s"])
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

fn spawn(directory: &Path, slot: &str, arguments: &[&str]) -> Child {
    let log = File::create(directory.join("log")).expect("a log");
    bemi_track(directory, slot, arguments)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("bemi track")
}

/// Runs it until it ends by itself: its exit code, and what it printed. Killed where nobody waits any more.
pub async fn run_to_its_end(slot: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let command = bemi_track(directory.path(), slot, arguments);
    let mut command = tokio::process::Command::from(command);
    let output = command.kill_on_drop(true).output().await.expect("bemi track");
    let text = |bytes: &[u8]| support::program::text(bytes);
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A row of `changes`. What is NULL there is [`Json::Null`] here.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub schema: String,
    pub table: String,
    pub primary_key: Option<String>,
    pub previous_primary_key: Option<String>,
    pub operation: String,
    pub before: Json,
    pub after: Json,
    pub incomplete: Json,
    pub context: Json,
    pub transaction_id: i64,
    pub database: String,
}

impl From<&Row> for Change {
    fn from(row: &Row) -> Self {
        let json = |place| {
            let text: Option<String> = row.get(place);
            text.map_or(Json::Null, |text| serde_json::from_str(&text).expect("JSON"))
        };
        Self {
            schema: row.get(0),
            table: row.get(1),
            primary_key: row.get(2),
            previous_primary_key: row.get(3),
            operation: row.get(4),
            before: json(5),
            after: json(6),
            incomplete: json(7),
            context: json(8),
            transaction_id: row.get(9),
            database: row.get(10),
        }
    }
}

impl Change {
    /// Operation and primary key: `CREATE 1`, `TRUNCATE`.
    pub fn outline(&self) -> String {
        let mut outline = self.operation.clone();
        for key in self.previous_primary_key.iter().chain(&self.primary_key) {
            outline.push(' ');
            outline.push_str(key);
        }
        outline
    }
}

/// The outlines of several.
pub fn outlines(changes: &[Change]) -> Vec<String> {
    changes.iter().map(Change::outline).collect()
}

/// The contexts of several.
pub fn contexts(changes: &[Change]) -> Vec<Json> {
    changes.iter().map(|change| change.context.clone()).collect()
}
