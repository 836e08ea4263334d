//! What `bemi track` keeps up with: a backlog of single-row updates, caught up with into the table `changes`.
//!
//! `cargo bench --bench track [-- ROWS [ROUNDS]]` prints a table. Beside the tracker stand what bounds it: the source's
//! decoding alone (`pg_recvlogical` into /dev/null, over the same log), and the destination's work alone (one `COPY` of the
//! very rows into the same table, empty, with the same indexes and settings). They take turns, round by round, so that a
//! noisy machine is noisy for all of them; medians and ratios are what to look at, not single figures.
//!
//! The tracker is the release build, as a process of its own. CPU time is read from /proc: of the tracker, of the session
//! that copies, and of each server as a whole.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bemi::demo::cluster::{Cluster, ClusterOptions};
use bemi::track::row::COLUMNS;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

/// Changes in one transaction of the source.
const IN_ONE_TRANSACTION: u64 = 10;

/// Between two looks at what is measured.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The ways, in the order of the table.
const WAYS: [&str; 4] = [
    "pg_recvlogical > /dev/null",
    "COPY of the same rows",
    "bemi track",
    "bemi track, one server",
];

/// The table `pgbench_accounts` at scale 1, as `pgbench -i` makes it, and what a request writes into its context.
const BACKLOG: &str = r#"
CREATE TABLE account (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
ALTER TABLE account REPLICA IDENTITY FULL;
INSERT INTO account SELECT n, 1, 0, '' FROM generate_series(1, 100000) n;
CREATE TABLE last (n bigint PRIMARY KEY);
CREATE PROCEDURE backlog(transactions bigint, changes bigint) LANGUAGE plpgsql AS $$
BEGIN
    FOR t IN 1 .. transactions LOOP
        PERFORM pg_logical_emit_message(true, '_bemi', format(
            '{"user_id": %s, "endpoint": "/api/accounts/%s", "method": "PUT", "SQL": "UPDATE account SET abalance = abalance + $1 WHERE aid = $2 RETURNING abalance"}',
            t % 1000, t % 50));
        FOR n IN 1 .. changes LOOP
            UPDATE account SET abalance = abalance + (t % 1000)::int WHERE aid = (t * changes + n) % 100000 + 1;
        END LOOP;
        COMMIT;
    END LOOP;
END $$;
CREATE PUBLICATION bemi FOR ALL TABLES;
"#;

fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse::<u64>().ok());
    let transactions = (numbers.next().unwrap_or(1_000_000) / IN_ONE_TRANSACTION).max(1);
    let rounds = numbers.next().unwrap_or(3).max(1);
    let mut stage = Stage::set(transactions);
    println!(
        "{} changes in transactions of {IN_ONE_TRANSACTION}, medians of {rounds} rounds; {} cores, PostgreSQL {}",
        stage.rows,
        std::thread::available_parallelism().map_or(0, usize::from),
        stage.source.server_version(),
    );
    let mut figures: [Vec<Figure>; 4] = Default::default();
    for round in 0..rounds {
        figures[0].push(stage.decode_only());
        let database = format!("round_{round}");
        figures[2].push(stage.track(&database));
        figures[1].push(stage.copy_only(&database));
        stage.forget(&database);
    }
    // These write into the log that the others read: they come last.
    for _ in 0..rounds {
        figures[3].push(stage.track_into_the_source());
    }
    print(figures.map(median), stage.rows);
}

/// One run. Times are in seconds.
#[derive(Clone, Copy, Default)]
struct Figure {
    wall: f64,
    /// CPU of the client: the tracker or pg_recvlogical.
    client: Option<f64>,
    /// CPU of the source, all its processes.
    source: Option<f64>,
    /// CPU of the session that stores.
    session: Option<f64>,
    /// CPU of the destination, all its processes.
    destination: Option<f64>,
    /// The client's largest memory, in MiB.
    peak: Option<f64>,
    /// How long a query by context takes directly afterwards: the first time, and again.
    query: Option<(f64, f64)>,
}

fn median(mut figures: Vec<Figure>) -> Figure {
    figures.sort_by(|a, b| a.wall.total_cmp(&b.wall));
    figures[figures.len() / 2]
}

fn print(figures: [Figure; 4], rows: u64) {
    println!(
        "{:<27} {:>10} {:>7} {:>8} | CPU, us per change: {:>7} {:>7} {:>14} {:>8} | {:>9} {:>17}",
        "way",
        "changes/s",
        "of COPY",
        "seconds",
        "client",
        "source",
        "storing session",
        "its rest",
        "peak",
        "query by context"
    );
    let per_change =
        |seconds: Option<f64>| or_none(seconds.map(|seconds| format!("{:.1}", seconds * 1e6 / rows as f64)));
    for (way, figure) in WAYS.iter().zip(&figures) {
        let rest = figure
            .destination
            .zip(figure.session)
            .map(|(all, session)| all - session);
        println!(
            "{way:<27} {:>10.0} {:>6.0}% {:>8.1} | {:>27} {:>7} {:>14} {:>9} | {:>9} {:>17}",
            rows as f64 / figure.wall,
            100.0 * figures[1].wall / figure.wall,
            figure.wall,
            per_change(figure.client),
            per_change(figure.source),
            per_change(figure.session),
            per_change(rest),
            or_none(figure.peak.map(|peak| format!("{peak:.0} MiB"))),
            or_none(
                figure
                    .query
                    .map(|(first, again)| format!("{:.1}, {:.1} ms", first * 1e3, again * 1e3))
            ),
        );
    }
}

fn or_none(figure: Option<String>) -> String {
    figure.unwrap_or_else(|| "-".to_owned())
}

/// Two servers, and a log to read.
struct Stage {
    runtime: Runtime,
    source: Cluster,
    destination: Cluster,
    client: Client,
    rows: u64,
    /// Where the last transaction begins; and the end of it.
    log: (String, String),
}

impl Stage {
    fn set(transactions: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let options = ClusterOptions::default()
            .setting("shared_buffers", "512MB")
            .setting("max_wal_size", "8GB")
            .setting("checkpoint_timeout", "15min")
            .setting("maintenance_work_mem", "128MB");
        let [source, destination] = [(); 2].map(|()| Cluster::start(&options).expect("a throw-away server"));
        let client = runtime.block_on(connect(&source, "postgres"));
        let log = runtime.block_on(async {
            client.batch_execute(BACKLOG).await.expect("the schema");
            client
                .batch_execute("SELECT pg_create_logical_replication_slot('start', 'pgoutput')")
                .await
                .expect("a slot");
            client
                .batch_execute("SET synchronous_commit = off")
                .await
                .expect("a setting");
            let call = format!("CALL backlog({transactions}, {IN_ONE_TRANSACTION})");
            client.batch_execute(&call).await.expect("a backlog");
            let begin = position(&client).await;
            client
                .batch_execute("SET synchronous_commit = on; INSERT INTO last VALUES (1)")
                .await
                .expect("the last row");
            (begin, position(&client).await)
        });
        Self {
            runtime,
            source,
            destination,
            client,
            // And the last one.
            rows: transactions * IN_ONE_TRANSACTION + 1,
            log,
        }
    }

    /// A slot that has all the log before it.
    fn slot(&self, name: &str) {
        let statement = format!("SELECT pg_copy_logical_replication_slot('start', '{name}')");
        self.sql(&self.client, &statement);
    }

    fn drop_slot(&self, name: &str) {
        let statement = format!(
            "DO $$ BEGIN WHILE (SELECT active FROM pg_replication_slots WHERE slot_name = '{name}') LOOP
               PERFORM pg_sleep(0.05); END LOOP; PERFORM pg_drop_replication_slot('{name}'); END $$"
        );
        self.sql(&self.client, &statement);
    }

    fn sql(&self, client: &Client, statement: &str) {
        self.runtime
            .block_on(client.batch_execute(statement))
            .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }

    fn decode_only(&self) -> Figure {
        self.slot("decode_only");
        let beside = self.source.bin_dir().join("pg_recvlogical");
        // Servers bundled without their clients leave it to the PATH.
        let program = if beside.exists() {
            beside
        } else {
            PathBuf::from("pg_recvlogical")
        };
        let before = Cpu::of(&self.source);
        let began = Instant::now();
        let mut process = Command::new(program)
            .args([
                "--slot",
                "decode_only",
                "--start",
                "--no-loop",
                "--file",
                "/dev/null",
            ])
            .args([
                "--option",
                "proto_version=1",
                "--option",
                "publication_names=bemi",
            ])
            .args(["--option", "messages=true", "--endpos", &self.log.1])
            .args(["--dbname", &self.source.url("postgres", &[])])
            .spawn()
            .expect("pg_recvlogical");
        let (mut client, mut peak) = (0.0, 0.0);
        while process.try_wait().expect("a state").is_none() {
            // Nothing can be read of one that has ended meanwhile.
            client = cpu_of(process.id(), false).unwrap_or(client);
            peak = peak_of(process.id()).unwrap_or(peak);
            sleep(LOOK_INTERVAL);
        }
        let wall = began.elapsed().as_secs_f64();
        let figure = Figure {
            wall,
            client: Some(client),
            source: Some(Cpu::of(&self.source).since(&before)),
            peak: Some(peak),
            ..Figure::default()
        };
        self.drop_slot("decode_only");
        figure
    }

    fn track(&self, database: &str) -> Figure {
        let admin = self.runtime.block_on(connect(&self.destination, "postgres"));
        self.sql(&admin, &format!("CREATE DATABASE {database}"));
        self.sql(&admin, "CHECKPOINT");
        let client = self.runtime.block_on(connect(&self.destination, database));
        let url = self.destination.url(database, &[]);
        self.measure(&client, &self.destination, "public", &["--destination", &url])
    }

    /// Always into the same schema: another one's `changes` would be a table to follow like any other.
    fn track_into_the_source(&self) -> Figure {
        let schema = "audit";
        self.sql(&self.client, &format!("CREATE SCHEMA {schema}; CHECKPOINT"));
        let figure = self.measure(&self.client, &self.source, schema, &["--schema", schema]);
        self.sql(&self.client, &format!("DROP SCHEMA {schema} CASCADE"));
        Figure {
            // It is the source.
            destination: None,
            ..figure
        }
    }

    /// Runs the tracker until it has stored the last row. `client` is on the destination.
    fn measure(&self, client: &Client, destination: &Cluster, schema: &str, arguments: &[&str]) -> Figure {
        self.slot("bemi");
        let before = (Cpu::of(&self.source), Cpu::of(destination));
        let began = Instant::now();
        let tracker = Tracker::start(&self.source.url("postgres", &[]), arguments);
        let is_stored = format!(
            "SELECT coalesce(bool_or(lsn > '{}'), false) FROM {schema}.changes_progress",
            self.log.0
        );
        // The table is not there at first.
        let is_stored = || {
            let row = self.runtime.block_on(client.query_one(&is_stored, &[]));
            row.is_ok_and(|row| row.get(0))
        };
        while !is_stored() {
            assert!(tracker.is_running(), "the tracker has ended");
            sleep(LOOK_INTERVAL);
        }
        let wall = began.elapsed().as_secs_f64();
        let pids = self.runtime.block_on(client.query(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'bemi track' AND backend_type = 'client backend'",
            &[],
        ));
        let pids = pids.expect("sessions");
        let session = pids
            .iter()
            .filter_map(|row| cpu_of(row.get::<_, i32>(0).unsigned_abs(), false))
            .sum();
        let figure = Figure {
            wall,
            client: cpu_of(tracker.0.id(), false),
            source: Some(Cpu::of(&self.source).since(&before.0)),
            session: Some(session),
            destination: Some(Cpu::of(destination).since(&before.1)),
            peak: peak_of(tracker.0.id()),
            query: Some(self.query_by_context(client, schema)),
        };
        drop(tracker);
        let stored = self.ask::<i64>(client, &format!("SELECT count(*) FROM {schema}.changes"));
        assert_eq!(stored.unsigned_abs(), self.rows, "each change once");
        let without = format!("SELECT count(*) FROM {schema}.changes WHERE context = '{{}}'");
        assert_eq!(
            self.ask::<i64>(client, &without),
            1,
            "each change with its context"
        );
        self.drop_slot("bemi");
        figure
    }

    fn ask<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, client: &Client, query: &str) -> T {
        self.runtime
            .block_on(client.query_one(query, &[]))
            .unwrap_or_else(|error| panic!("{query}: {error:?}"))
            .get(0)
    }

    /// How long it takes to find what one user changed, while new entries still wait for the index to be merged.
    fn query_by_context(&self, client: &Client, schema: &str) -> (f64, f64) {
        let query = format!(
            r#"SELECT count(*) FROM (SELECT FROM {schema}.changes WHERE context @> '{{"user_id": 17}}' LIMIT 100) c"#
        );
        self.sql(client, "SET enable_seqscan = off");
        let once = || {
            let began = Instant::now();
            self.ask::<i64>(client, &query);
            began.elapsed().as_secs_f64()
        };
        let times = (once(), once());
        self.sql(client, "RESET enable_seqscan");
        times
    }

    /// One COPY of what the tracker has stored, from a file on the server.
    fn copy_only(&self, database: &str) -> Figure {
        let client = self.runtime.block_on(connect(&self.destination, database));
        let file = self.destination.data_dir().join("changes.copy");
        let path = file.display();
        self.sql(
            &client,
            &format!("COPY (SELECT {COLUMNS} FROM changes ORDER BY id) TO '{path}'"),
        );
        self.sql(&client, "CREATE TABLE again (LIKE changes INCLUDING ALL)");
        self.sql(&client, bemi::track::destination::SETTINGS);
        self.sql(&client, "CHECKPOINT");
        let pid = self.ask::<i32>(&client, "SELECT pg_backend_pid()").unsigned_abs();
        let (before, session) = (Cpu::of(&self.destination), cpu_of(pid, false).unwrap_or_default());
        let began = Instant::now();
        self.sql(&client, &format!("COPY again ({COLUMNS}) FROM '{path}'"));
        let wall = began.elapsed().as_secs_f64();
        let figure = Figure {
            wall,
            session: cpu_of(pid, false).map(|now| now - session),
            destination: Some(Cpu::of(&self.destination).since(&before)),
            ..Figure::default()
        };
        fs::remove_file(&file).expect("removed");
        figure
    }

    fn forget(&mut self, database: &str) {
        let admin = self.runtime.block_on(connect(&self.destination, "postgres"));
        self.sql(&admin, &format!("DROP DATABASE {database} WITH (FORCE)"));
    }
}

async fn connect(cluster: &Cluster, database: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(&cluster.url(database, &[]), NoTls)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    client
}

async fn position(client: &Client) -> String {
    let row = client
        .query_one("SELECT pg_current_wal_insert_lsn()::text", &[])
        .await
        .expect("a position");
    row.get(0)
}

/// The process; killed when it goes out of scope.
struct Tracker(Child);

impl Tracker {
    fn start(source: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bemi"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BEMI_") {
                command.env_remove(name);
            }
        }
        let process = command
            .args(["track", "--upstream", source, "--log-level", "warn"])
            .args(arguments)
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Self(process.expect("bemi track"))
    }

    fn is_running(&self) -> bool {
        peak_of(self.0.id()).is_some()
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// CPU time of a server: the postmaster, its children, and those that have ended.
struct Cpu(f64);

impl Cpu {
    fn of(cluster: &Cluster) -> Self {
        let file = fs::read_to_string(cluster.data_dir().join("postmaster.pid")).expect("postmaster.pid");
        let postmaster: u32 = file
            .lines()
            .next()
            .and_then(|line| line.parse().ok())
            .expect("a pid");
        let processes = fs::read_dir("/proc").expect("procfs");
        let pids = processes
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let children = pids.filter(|pid| parent_of(*pid) == Some(postmaster));
        let alive: f64 = children.filter_map(|pid| cpu_of(pid, false)).sum();
        Self(cpu_of(postmaster, true).unwrap_or_default() + alive)
    }

    fn since(&self, before: &Self) -> f64 {
        self.0 - before.0
    }
}

/// The fields of /proc/PID/stat behind the program's name; the first one is the state.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = stat.rsplit(')').next()?.split_whitespace();
    Some(fields.map(str::to_owned).collect())
}

fn parent_of(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// User and system time in seconds, in ticks of 10 ms; with that of children that have been waited for.
fn cpu_of(pid: u32, with_children: bool) -> Option<f64> {
    let stat = stat(pid)?;
    let ticks = stat.get(11..if with_children { 15 } else { 13 })?;
    let ticks: u64 = ticks.iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(ticks as f64 / 100.0)
}

/// The largest resident memory so far, in MiB.
fn peak_of(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes / 1024.0)
}
