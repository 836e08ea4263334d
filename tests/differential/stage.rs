//! Two databases with the same tables, one behind the proxy, and the log of that one.

use std::io;

use tokio::runtime::Runtime;

use super::conversation::{Conversation, Heard, Side};
use super::generate::IDS;
use super::script::{Message, Script, Sql, Step};
use super::support::raw::RawClient;
use super::support::wal::{Transaction, WalReader};
use super::{judge, support};

const TABLES: &str = "
    CREATE TABLE parent (id bigint PRIMARY KEY);
    CREATE TABLE t (
        id bigint PRIMARY KEY,
        tag text,
        note text,
        execution bigint,
        setting text DEFAULT current_setting('bemi.context', true),
        parent bigint REFERENCES parent DEFERRABLE INITIALLY DEFERRED
    );
    INSERT INTO t VALUES (0);";

pub struct Stage {
    runtime: Runtime,
    proxied: Leg,
    direct: Leg,
    log: WalReader,
    admin: [tokio_postgres::Client; 2],
}

/// One of the two ways to the server.
struct Leg {
    side: Side,
    port: u16,
    database: String,
    /// A connection that scripts without startup parameters share, one after the other.
    shared: Option<Conversation>,
}

/// A script that was spoken on both legs and is not judged by the log yet.
pub struct Spoken {
    pub script: Script,
    pub first_id: i64,
}

impl Stage {
    pub fn new(proxy_port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let cluster = support::cluster();
        let (log, admin, names) = runtime.block_on(async {
            let proxied = support::database(cluster).await;
            let direct = format!("{proxied}_direct");
            let client = support::connect(cluster.port(), &proxied).await;
            client.batch_execute(TABLES).await.expect("tables");
            // Should a script lock itself out, both sides shall say so soon.
            let impatient = format!("ALTER DATABASE {proxied} SET lock_timeout = '2s'");
            client.batch_execute(&impatient).await.expect("a setting");
            drop(client);
            // A copy, so that both have the same OIDs. The template must have no connections left.
            let maintenance = support::connect(cluster.port(), "postgres").await;
            let copy = format!("CREATE DATABASE {direct} TEMPLATE {proxied}");
            while maintenance.batch_execute(&copy).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            let impatient = format!("ALTER DATABASE {direct} SET lock_timeout = '2s'");
            maintenance.batch_execute(&impatient).await.expect("a setting");
            let log = WalReader::create(cluster, &proxied).await;
            let admin = [
                support::connect(cluster.port(), &proxied).await,
                support::connect(cluster.port(), &direct).await,
            ];
            (log, admin, [proxied, direct])
        });
        let [proxied, direct] = names;
        let leg = |side, port, database| Leg {
            side,
            port,
            database,
            shared: None,
        };
        Self {
            runtime,
            proxied: leg(Side::Proxy, proxy_port, proxied),
            direct: leg(Side::Server, cluster.port(), direct),
            log,
            admin,
        }
    }

    /// Speaks a script on both legs and compares what the client reads.
    pub fn speak(&mut self, script: &Script) -> Result<(), String> {
        let proxied = self.proxied.speak(script)?;
        let direct = self.direct.speak(script)?;
        let verdict = judge::replies(&proxied, &direct);
        if verdict.is_err() {
            self.hang_up();
        }
        verdict
    }

    /// Compares what the log holds with what these scripts' rows say; the first that is wrong, and why.
    pub fn judge(&mut self, spoken: &[Spoken]) -> Result<usize, (usize, String)> {
        let transactions = self.log();
        let written = judge::written(&transactions);
        let rows = written.values().map(Vec::len).sum();
        for (at, spoken) in spoken.iter().enumerate() {
            for (_, rows) in written.range(spoken.first_id..spoken.first_id + IDS) {
                for row in rows {
                    judge::row(&spoken.script, row).map_err(|why| (at, why))?;
                }
            }
        }
        Ok(rows)
    }

    /// Speaks and judges one script, on fresh connections and empty tables.
    pub fn try_alone(&mut self, script: &Script, first_id: i64) -> Result<(), String> {
        self.clear();
        self.speak(script)?;
        self.hang_up();
        let spoken = Spoken {
            script: script.clone(),
            first_id,
        };
        self.judge(&[spoken]).map(|_| ()).map_err(|(_, why)| why)
    }

    fn log(&mut self) -> Vec<Transaction> {
        self.runtime.block_on(self.log.transactions())
    }

    fn hang_up(&mut self) {
        self.proxied.shared = None;
        self.direct.shared = None;
    }

    /// Ends what is left of earlier scripts.
    fn clear(&mut self) {
        self.hang_up();
        for client in &self.admin {
            let emptied = client.batch_execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                     WHERE datname = current_database() AND backend_type = 'client backend'
                       AND pid <> pg_backend_pid() AND application_name = 'differential';
                 DELETE FROM t WHERE id > 0",
            );
            if let Err(error) = self.runtime.block_on(emptied) {
                let log = support::cluster().log().unwrap_or_default();
                let end: Vec<&str> = log.lines().rev().take(30).collect();
                panic!("{error}: {end:#?}");
            }
        }
        self.log();
    }
}

impl Leg {
    fn speak(&mut self, script: &Script) -> Result<Vec<Vec<Heard>>, String> {
        let is_shared = script.startup.is_empty();
        let mut conversation = match self.shared.take().filter(|_| is_shared) {
            Some(conversation) => conversation,
            None => self.connect(&script.startup).map_err(|error| error.to_string())?,
        };
        let mut whole = script.clone();
        whole.steps.extend(epilogue());
        let transcript = conversation.speak(&whole);
        if is_shared {
            self.shared = Some(conversation);
        }
        Ok(transcript)
    }

    fn connect(&self, startup: &[(String, String)]) -> io::Result<Conversation> {
        let mut parameters = vec![
            ("user", "postgres"),
            ("database", self.database.as_str()),
            ("application_name", "differential"),
        ];
        parameters.extend(
            startup
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        Ok(Conversation::new(
            RawClient::connect(self.port, &parameters)?,
            self.side,
        ))
    }
}

/// Leaves a connection as it was at its start, whatever was said on it.
fn epilogue() -> impl Iterator<Item = Step> {
    let query = |text: &str| {
        let (text, refusal) = (text.to_owned(), None);
        Message::Query(vec![Sql { text, refusal }])
    };
    [
        Message::Sync,
        query("ROLLBACK"),
        query("DISCARD ALL"),
        query("SELECT current_setting('bemi.context', true)"),
    ]
    .into_iter()
    .map(|message| Step {
        messages: vec![message],
        parts: None,
    })
}
