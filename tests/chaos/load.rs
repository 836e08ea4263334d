//! Writers that know what they have committed, also where the answer to their COMMIT was lost.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_postgres::{Client, NoTls};

use crate::dice::Dice;
use crate::stage::{SOURCE_DATABASE, config};
use crate::transaction::{Keys, State, Transaction};

/// Writing at the same time.
pub const WRITERS: u64 = 4;

pub const TABLES: &str = "
    CREATE TABLE item (id bigint PRIMARY KEY, who text, n int, body text);
    CREATE TABLE bulk (id bigint PRIMARY KEY, who text, n int, body text);
    CREATE TABLE scratch (id bigint PRIMARY KEY, who text);
    CREATE TABLE ledger (writer bigint, number bigint, changes bigint, who text, PRIMARY KEY (writer, number));
    ALTER TABLE item REPLICA IDENTITY FULL; ALTER TABLE bulk REPLICA IDENTITY FULL;
    ALTER TABLE scratch REPLICA IDENTITY FULL; ALTER TABLE ledger REPLICA IDENTITY FULL";

/// What the writers know.
#[derive(Default)]
pub struct Committed {
    /// Changes, by writer and number of the transaction.
    pub transactions: BTreeMap<(i64, i64), i64>,
    pub rolled_back: u64,
    /// Answers to a COMMIT, or to something before it, that were lost.
    pub lost_answers: u64,
}

pub struct Load {
    stop: watch::Sender<bool>,
    writers: Vec<JoinHandle<Committed>>,
}

impl Load {
    pub fn start(runtime: &Runtime, port: u16, seed: u64) -> Self {
        let stop = watch::Sender::new(false);
        let writers = (0..WRITERS)
            .map(|number| {
                let writer = Writer {
                    port,
                    dice: Dice::new(seed * 1_000 + number + 1),
                    keys: Keys {
                        writer: i64::try_from(number).expect("a small number"),
                        used: 0,
                    },
                    number: 0,
                    committed: Committed::default(),
                };
                runtime.spawn(writer.run(stop.subscribe()))
            })
            .collect();
        Self { stop, writers }
    }

    /// Ends it, and returns what was committed.
    pub async fn end(self) -> Committed {
        self.stop.send_replace(true);
        let mut all = Committed::default();
        for writer in self.writers {
            let one = writer.await.expect("a writer that does not panic");
            all.transactions.extend(one.transactions);
            all.rolled_back += one.rolled_back;
            all.lost_answers += one.lost_answers;
        }
        all
    }
}

struct Writer {
    port: u16,
    dice: Dice,
    keys: Keys,
    number: i64,
    committed: Committed,
}

/// A session, and the server's process for it.
struct Session {
    client: Client,
    process: (i32, String),
}

impl Writer {
    async fn run(mut self, stop: watch::Receiver<bool>) -> Committed {
        let mut session = self.session().await;
        while !*stop.borrow() {
            self.number += 1;
            let transaction = Transaction {
                client: &session.client,
                dice: &mut self.dice,
                keys: &mut self.keys,
                number: self.number,
                state: State::default(),
            };
            match transaction.run().await {
                Ok(Some(changes)) => self.note(changes),
                Ok(None) => self.committed.rolled_back += 1,
                // A deadlock, and the session goes on; or it is gone.
                Err(_) if session.client.batch_execute("ROLLBACK").await.is_ok() => {
                    self.committed.rolled_back += 1
                }
                Err(_) => {
                    let process = session.process;
                    session = self.session().await;
                    session = self.find_out(session, &process).await;
                }
            }
            let pause = self.dice.between(5, 50);
            sleep(Duration::from_millis(pause as u64)).await;
        }
        self.committed
    }

    fn note(&mut self, changes: i64) {
        self.committed
            .transactions
            .insert((self.keys.writer, self.number), changes);
    }

    async fn session(&self) -> Session {
        loop {
            if let Ok(session) = connect(self.port).await {
                return session;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether the last transaction was committed: nobody has said, but its row in the ledger does.
    async fn find_out(&mut self, mut session: Session, process: &(i32, String)) -> Session {
        self.committed.lost_answers += 1;
        let (pid, since) = process;
        loop {
            // As long as its process is there, it may still be at its COMMIT.
            let answer = session
                .client
                .query(
                    "SELECT (SELECT changes FROM ledger WHERE writer = $1 AND number = $2),
                            EXISTS (SELECT FROM pg_stat_activity WHERE pid = $3 AND backend_start::text = $4)",
                    &[&self.keys.writer, &self.number, pid, since],
                )
                .await;
            match answer.as_deref() {
                Ok([row]) if row.get::<_, bool>(1) => sleep(Duration::from_millis(50)).await,
                Ok([row]) => {
                    match row.get(0) {
                        Some(changes) => self.note(changes),
                        None => self.committed.rolled_back += 1,
                    }
                    return session;
                }
                Ok(_) | Err(_) => session = self.session().await,
            }
        }
    }
}

async fn connect(port: u16) -> Result<Session, tokio_postgres::Error> {
    let (client, connection) = config(port, SOURCE_DATABASE).connect(NoTls).await?;
    // What it ends with is the client's to see.
    tokio::spawn(async { drop(connection.await) });
    let row = client
        .query_one(
            "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()",
            &[],
        )
        .await?;
    Ok(Session {
        client,
        process: (row.get(0), row.get(1)),
    })
}
