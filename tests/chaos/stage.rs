//! The servers, the network between them and the tracker, and the tracker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bemi::demo::cluster::{Cluster, ClusterOptions};
use tokio::runtime::Runtime;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row};

use crate::forwarder::Forwarder;
use crate::load;
use crate::support::track_process::TrackProcess;

pub const SOURCE_DATABASE: &str = "app";
pub const DESTINATION_DATABASE: &str = "audit";

/// The slot that nothing but the final reckoning reads.
pub const JOURNAL: &str = "journal";

/// A server, and how the tracker reaches it.
pub struct Side {
    pub name: &'static str,
    pub cluster: Cluster,
    pub database: &'static str,
    pub network: Forwarder,
}

pub struct Stage {
    pub runtime: Arc<Runtime>,
    /// The source; and the destination, where it is another server.
    pub sides: Vec<Side>,
    pub tracker: TrackProcess,
    pub began: Instant,
}

/// How a session of the test reaches a server: not through the network that is cut.
pub fn config(port: u16, database: &str) -> Config {
    let mut config = crate::support::config(port, database);
    config
        .application_name("chaos")
        .connect_timeout(Duration::from_secs(10));
    config
}

impl Side {
    fn start(runtime: &Runtime, name: &'static str, database: &'static str) -> Self {
        let options = ClusterOptions::default()
            // A frozen tracker is noticed while the test runs.
            .setting("wal_sender_timeout", "2s")
            // What a checkpoint writes, the slot among it, is not always what was last.
            .setting("checkpoint_timeout", "30s");
        let cluster = Cluster::start(&options).expect("a server");
        let network = runtime.block_on(Forwarder::start(cluster.port()));
        let side = Self {
            name,
            cluster,
            database,
            network,
        };
        runtime.block_on(async {
            let client = connect(&config(side.cluster.port(), "postgres"))
                .await
                .expect("a session");
            client
                .batch_execute(&format!("CREATE DATABASE {database}"))
                .await
                .expect("a database");
        });
        side
    }

    /// As the tracker is told.
    fn url(&self) -> String {
        format!(
            "postgresql://postgres@127.0.0.1:{}/{}?sslmode=disable",
            self.network.port(),
            self.database
        )
    }
}

impl Stage {
    /// Two servers, or one that is both. Ready to be written to: everything from now on is followed.
    pub fn new(is_one_server: bool) -> Self {
        let runtime = Arc::new(Runtime::new().expect("a runtime"));
        let mut names = vec![("source", SOURCE_DATABASE)];
        if !is_one_server {
            names.push(("destination", DESTINATION_DATABASE));
        }
        let sides: Vec<Side> = std::thread::scope(|scope| {
            let starts: Vec<_> = names
                .iter()
                .map(|&(name, database)| scope.spawn(|| Side::start(&runtime, name, database)))
                .collect();
            starts
                .into_iter()
                .map(|start| start.join().expect("a server"))
                .collect()
        });
        let port = sides[0].cluster.port();
        runtime.block_on(async {
            let client = connect(&config(port, SOURCE_DATABASE)).await.expect("a session");
            client.batch_execute(load::TABLES).await.expect("tables");
            client
                .execute(
                    "SELECT pg_create_logical_replication_slot($1, 'test_decoding')",
                    &[&JOURNAL],
                )
                .await
                .expect("a slot");
        });
        let destination = sides.get(1).map(Side::url);
        // Between two kills there is no time for long waits.
        let settings = ["--set", "track.max_backoff=1s", "--log-level", "info"];
        let tracker = TrackProcess::start(&sides[0].url(), destination.as_deref(), &settings);
        let mut stage = Self {
            runtime,
            sides,
            tracker,
            began: Instant::now(),
        };
        stage.wait_for("the slot to be read", |stage| {
            let slots = stage.ask(
                0,
                "SELECT active FROM pg_replication_slots WHERE slot_name = 'bemi'",
                &[],
            );
            slots.is_some_and(|slots| slots.iter().any(|slot| slot.get(0)))
        });
        stage
    }

    pub fn source(&self) -> &Side {
        &self.sides[0]
    }

    /// The number of the side that has the table `changes`.
    pub fn store(&self) -> usize {
        self.sides.len() - 1
    }

    /// Asks a server directly; `None`: it cannot answer now.
    pub fn ask(&self, side: usize, query: &str, parameters: &[&(dyn ToSql + Sync)]) -> Option<Vec<Row>> {
        let side = &self.sides[side];
        self.runtime.block_on(async {
            let client = connect(&config(side.cluster.port(), side.database)).await.ok()?;
            client.query(query, parameters).await.ok()
        })
    }

    /// Waits, and fails when it takes too long or the tracker has ended by itself.
    pub fn wait_for(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(90);
        while !is_so(self) {
            self.tracker_runs();
            assert!(
                Instant::now() < deadline,
                "no end of waiting for {what}; the tracker's log:\n{}",
                self.tail()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Fails unless the tracker is there.
    pub fn tracker_runs(&mut self) {
        if let Some(status) = self.tracker.ended() {
            panic!(
                "the tracker has ended by itself, {status}; its log:\n{}",
                self.tail()
            );
        }
    }

    /// The end of the tracker's log.
    pub fn tail(&self) -> String {
        let log = self.tracker.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    // What it ends with is the client's to see.
    tokio::spawn(async { drop(connection.await) });
    Ok(client)
}
