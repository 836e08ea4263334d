//! Two databases with the same content in one server, one of them behind a proxy with a rough network.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bemi::demo::cluster::{Cluster, ClusterOptions};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::chopper::Chopper;
use super::session::Session;
use super::speak::{self, Heard};
use super::support::conversation::PATIENCE;
use super::support::proxy::{self, RunningProxy, background};
use super::support::wal::{Item, WalReader};
use super::support::{self};
use super::{compare, fixture};

/// Where a session waits for a lock that nobody will give back (a prepared transaction's), both sides say so soon. Nothing
/// else ever waits for one.
const IMPATIENT: &str = "lock_timeout = '50ms'";

/// Sessions between two looks at the log: it should not pile up.
const LOG_EVERY: u64 = 200;

/// The server of all stages. Statistics and freed space come with the clock, and would change plans and the order of rows.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let options = ClusterOptions::default()
            .setting("autovacuum", "off")
            .setting("max_prepared_transactions", "50");
        let cluster = Cluster::start(&options).expect("a throw-away server");
        background().block_on(async {
            let client = support::connect(cluster.port(), "postgres").await;
            client
                .batch_execute("CREATE ROLE twin_reader")
                .await
                .expect("a role");
        });
        cluster
    })
}

pub struct Stage {
    proxy: RunningProxy,
    chopper: Chopper,
    proxied: Twin,
    direct: Twin,
    log: WalReader,
    logged: Logged,
    held: u64,
}

struct Twin {
    database: String,
    admin: Client,
    pristine: Vec<String>,
    /// Connections that are none of a session's.
    clients: Vec<String>,
}

/// What both sides said and did, which was the same.
pub struct Held {
    pub heard: Heard,
}

/// What stands in the log of what went through the proxy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Logged {
    pub messages: u64,
    pub rows: u64,
    pub rows_with_context: u64,
}

impl Stage {
    pub fn new(number: usize) -> Self {
        let cluster = cluster();
        background().block_on(async {
            // Names of one length, so that startup packets are cut at the same places.
            let names = [format!("twin_p{number}"), format!("twin_d{number}")];
            make_twins(cluster, &names).await;
            let [proxied, direct] = &names;
            let chopper = Chopper::start(cluster.port()).await;
            let url = format!("postgresql://127.0.0.1:{}/?sslmode=disable", chopper.port());
            let proxy = proxy::start_in_front_of(&url, |config| config.threads = 1).await;
            Self {
                proxy,
                chopper,
                log: WalReader::create(cluster, proxied).await,
                proxied: Twin::new(cluster, proxied).await,
                direct: Twin::new(cluster, direct).await,
                logged: Logged::default(),
                held: 0,
            }
        })
    }

    /// Holds a session with both, and compares.
    pub fn hold(&mut self, session: &Session) -> Result<Held, String> {
        let direct = self.directly(session)?;
        let (proxied, left) = self.proxied(session, &direct.0)?;
        compare::heard(&proxied, &direct.0)?;
        if left != direct.1 {
            return Err(format!(
                "the same was said, and other things were done\n through the proxy there is {left:#?}\n and on the server {:#?}",
                direct.1
            ));
        }
        self.held += 1;
        if self.held.is_multiple_of(LOG_EVERY) {
            self.read_log();
        }
        Ok(Held { heard: direct.0 })
    }

    fn directly(&mut self, session: &Session) -> Result<(Heard, Vec<String>), String> {
        let heard = speak::with_server(session, cluster().port(), &self.direct.database);
        let heard = heard.map_err(|error| format!("the server cannot be spoken to: {error}"))?;
        let left = self.direct.left_behind();
        Ok((heard, left))
    }

    fn proxied(&mut self, session: &Session, server: &Heard) -> Result<(Heard, Vec<String>), String> {
        self.chopper.chop(session.is_chopped.then_some(session.seed));
        let heard = speak::with_proxy(session, self.proxy.port(), &self.proxied.database, server);
        let left = self.proxied.left_behind();
        let heard = heard.map_err(|error| format!("the proxy cannot be spoken to: {error}"))?;
        Ok((heard, left))
    }

    /// Whether the server itself does not say the same twice, and what differs.
    pub fn differs_by_itself(&mut self, session: &Session) -> Option<String> {
        (0..3).find_map(|_| {
            let (first, second) = (self.directly(session).ok()?, self.directly(session).ok()?);
            let differs = compare::heard(&second.0, &first.0).err();
            differs.or_else(|| (first.1 != second.1).then(|| format!("{:#?}\n{:#?}", first.1, second.1)))
        })
    }

    fn read_log(&mut self) {
        let logged = &mut self.logged;
        let transactions = background().block_on(self.log.transactions());
        // What put the tables back was none of a session.
        let of_sessions = transactions
            .iter()
            .filter(|transaction| !transaction.items.iter().any(truncates_all));
        for transaction in of_sessions {
            logged.messages += transaction.messages().len() as u64;
            let contexts = transaction.contexts();
            logged.rows += contexts.len() as u64;
            logged.rows_with_context += contexts.iter().flatten().count() as u64;
        }
    }

    pub fn logged(&mut self) -> Logged {
        self.read_log();
        self.logged
    }
}

/// The second is a copy of the first: what has a number in the catalog has the same one in both.
async fn make_twins(cluster: &Cluster, names: &[String; 2]) {
    let maintenance = support::connect(cluster.port(), "postgres").await;
    let run = async |sql: &str| maintenance.batch_execute(sql).await;
    let [first, second] = names;
    run(&format!("CREATE DATABASE {first} TEMPLATE template0"))
        .await
        .expect("a database");
    let client = support::connect(cluster.port(), first).await;
    client.batch_execute(fixture::TABLES).await.expect("tables");
    drop(client);
    while run(&format!("CREATE DATABASE {second} TEMPLATE {first}"))
        .await
        .is_err()
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for name in names {
        run(&format!("ALTER DATABASE {name} SET {IMPATIENT}"))
            .await
            .expect("a setting");
    }
    // The other one has the log reader's: tables without a key refuse updates where one publishes them.
    let client = support::connect(cluster.port(), second).await;
    client
        .batch_execute("CREATE PUBLICATION same FOR ALL TABLES")
        .await
        .expect("a publication");
}

impl Twin {
    async fn new(cluster: &Cluster, database: &str) -> Self {
        let mut config = support::config(cluster.port(), database);
        let (admin, _) = support::connect_with(config.application_name("admin")).await;
        admin.batch_execute(&fixture::reset()).await.expect("rows");
        let pristine = rows(&admin, fixture::SNAPSHOT).await;
        let clients = rows(&admin, fixture::CLIENTS).await;
        Self {
            database: database.to_owned(),
            admin,
            pristine,
            clients,
        }
    }

    /// What a session left behind. All is put back.
    fn left_behind(&self) -> Vec<String> {
        background().block_on(async {
            self.wait_for_the_end().await;
            let prepared = rows(&self.admin, fixture::PREPARED).await;
            // They may hold locks that the snapshot would wait for.
            for gid in &prepared {
                let sql = format!("ROLLBACK PREPARED '{gid}'");
                self.admin
                    .batch_execute(&sql)
                    .await
                    .expect("a prepared transaction's end");
            }
            let mut found = rows(&self.admin, fixture::SNAPSHOT).await;
            if found != self.pristine {
                self.admin.batch_execute(&fixture::reset()).await.expect("rows");
            }
            found.extend(prepared.into_iter().map(|gid| format!("prepared {gid}")));
            found
        })
    }

    async fn wait_for_the_end(&self) {
        let began = Instant::now();
        while rows(&self.admin, fixture::CLIENTS).await != self.clients {
            assert!(
                began.elapsed() < PATIENCE,
                "in {}, a session outlives its client",
                self.database
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn truncates_all(item: &Item) -> bool {
    matches!(item, Item::Truncate { tables } if tables.len() == fixture::RESET_TABLES)
}

/// What the server's log says of a process that crashed: the others, whoever they serve, are ended with it.
fn how_the_server_ended() -> String {
    let log = cluster().log().unwrap_or_default();
    let begin = log.find("was terminated by signal").unwrap_or(log.len());
    let crash: String = log.get(begin..).unwrap_or_default().chars().take(2000).collect();
    if crash.is_empty() {
        "its log tells of no crash".to_owned()
    } else {
        format!("a process of it {crash}")
    }
}

async fn rows(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await;
    let messages = messages.unwrap_or_else(|error| panic!("{error}; {}", how_the_server_ended()));
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}
