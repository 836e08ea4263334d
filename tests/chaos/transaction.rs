//! One transaction of a writer: what it writes, in which context, and how many changes that makes.
//!
//! Each row has the context that it must be stored with in its column `who`: the latest that was emitted before it, or
//! else the first one behind it.

use futures_util::SinkExt;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use crate::dice::Dice;

/// A transaction that writes this many rows is larger than what the tracker hands over at once.
const LARGE: (usize, usize) = (10_000, 14_000);

/// Rows that all writers fight for: ids 1 to this.
const CONTESTED: usize = 8;

/// What a writer has to itself.
pub struct Keys {
    pub writer: i64,
    /// Ids that were handed out, be they committed or not.
    pub used: i64,
}

impl Keys {
    fn base(&self) -> i64 {
        (self.writer + 1) * 1_000_000_000
    }

    /// The first of so many ids that nobody has.
    fn fresh(&mut self, count: usize) -> i64 {
        let first = self.base() + self.used;
        self.used += i64::try_from(count).expect("a small number");
        first
    }

    /// An id that there may be a row of.
    fn some(&self, dice: &mut Dice) -> i64 {
        let used = usize::try_from(self.used.clamp(1, 400)).unwrap_or(1);
        self.base() + self.used - 1 - i64::try_from(dice.below(used)).unwrap_or_default()
    }
}

/// When a transaction says who it is.
#[derive(Clone, Copy)]
enum When {
    First,
    AfterSomeRows,
    Never,
}

/// A transaction under way.
pub struct Transaction<'a> {
    pub client: &'a Client,
    pub dice: &'a mut Dice,
    pub keys: &'a mut Keys,
    /// Its number among the writer's.
    pub number: i64,
    pub state: State,
}

/// What ROLLBACK TO takes back.
#[derive(Clone, Default)]
pub struct State {
    /// In force.
    context: Option<String>,
    /// The first one, which comes behind the rows that belong to it.
    pending: Option<String>,
    /// Nothing is said at all, but for what is rolled back.
    is_silent: bool,
    changes: i64,
    contexts: usize,
}

impl Transaction<'_> {
    /// Runs it. Returns how many changes it has committed; `None`: rolled back.
    pub async fn run(mut self) -> Result<Option<i64>, Error> {
        if self.dice.chance(25) {
            return self.single().await.map(Some);
        }
        let is_large = self.number == 3 || self.dice.chance(1) && self.dice.chance(25);
        self.client.batch_execute("BEGIN").await?;
        match self
            .dice
            .weighted(&[(6, When::First), (2, When::AfterSomeRows), (2, When::Never)])
        {
            When::First => self.speak().await?,
            When::AfterSomeRows => self.state.pending = Some(self.name()),
            When::Never => self.state.is_silent = true,
        }
        if is_large {
            self.large().await?;
        } else {
            for _ in 0..self.dice.between(1, 5) {
                self.something().await?;
            }
        }
        if self.state.pending.is_some() {
            self.speak().await?;
        }
        if self.dice.chance(12) {
            self.client.batch_execute("ROLLBACK").await?;
            return Ok(None);
        }
        let ledger = self.ledger(self.state.changes + 1);
        self.write(&ledger).await?;
        self.client.batch_execute("COMMIT").await?;
        Ok(Some(self.state.changes))
    }

    /// No BEGIN: one Query, which is one transaction.
    async fn single(&mut self) -> Result<i64, Error> {
        let mut sql = String::new();
        if self.dice.chance(80) {
            let name = self.name();
            sql = emit(&name) + "; ";
            self.state.context = Some(name);
        }
        let (row, ledger) = (self.insert(1), self.ledger(2));
        self.client
            .batch_execute(&format!("{sql}{row}; {ledger}"))
            .await?;
        Ok(2)
    }

    /// The row that is there if, and only if, the transaction is.
    fn ledger(&self, changes: i64) -> String {
        let (writer, number, who) = (self.keys.writer, self.number, self.who());
        format!(
            "INSERT INTO ledger (writer, number, changes, who) VALUES ({writer}, {number}, {changes}, {who})"
        )
    }

    async fn something(&mut self) -> Result<(), Error> {
        #[derive(Clone, Copy)]
        enum Step {
            Speak,
            FallSilent,
            Write,
            Copy,
            Savepoint,
        }
        let steps = [
            (3, Step::Speak),
            (1, Step::FallSilent),
            (12, Step::Write),
            (2, Step::Copy),
            (3, Step::Savepoint),
        ];
        match self.dice.weighted(&steps) {
            Step::Speak if !self.state.is_silent => self.speak().await,
            Step::FallSilent if self.state.context.is_some() => {
                self.state.context = None;
                self.client
                    .batch_execute("SELECT pg_logical_emit_message(true, '_bemi', '{}')")
                    .await
            }
            Step::Speak | Step::FallSilent | Step::Write => self.write_something().await,
            Step::Copy => {
                let count = self.dice.between(1, 30);
                self.copy("item", count).await
            }
            Step::Savepoint => self.savepoint().await,
        }
    }

    async fn savepoint(&mut self) -> Result<(), Error> {
        let before = self.state.clone();
        let is_undone = self.dice.chance(60);
        self.client.batch_execute("SAVEPOINT s").await?;
        if self.dice.chance(60) && (is_undone || !self.state.is_silent) {
            self.speak().await?;
        }
        for _ in 0..self.dice.between(1, 3) {
            self.write_something().await?;
        }
        if is_undone {
            self.client.batch_execute("ROLLBACK TO s").await?;
            // A name is never used again, so that a context that was rolled back is known when it is seen.
            let contexts = self.state.contexts;
            self.state = before;
            self.state.contexts = contexts;
        }
        self.client.batch_execute("RELEASE s").await
    }

    async fn write_something(&mut self) -> Result<(), Error> {
        let sql = self.statement();
        self.write(&sql).await
    }

    fn statement(&mut self) -> String {
        let (who, id) = (self.who(), self.keys.some(self.dice));
        match self.dice.below(if self.keys.writer == 0 { 10 } else { 8 }) {
            0 => self.insert(1),
            1 => {
                let count = self.dice.between(2, 20);
                self.insert(count)
            }
            2 => format!("UPDATE item SET who = {who}, n = n + 1 WHERE id = {id}"),
            3 => format!(
                "UPDATE item SET who = {who}, n = n + 1 WHERE id BETWEEN {id} AND {}",
                id + 5
            ),
            4 => {
                let fresh = self.keys.fresh(1);
                format!("UPDATE item SET id = {fresh}, who = {who} WHERE id = {id}")
            }
            5 => format!("DELETE FROM item WHERE id = {id}"),
            6 => format!("DELETE FROM item WHERE id BETWEEN {id} AND {}", id + 3),
            7 => format!(
                "INSERT INTO item (id, who, n) VALUES ({}, {who}, 0)
                 ON CONFLICT (id) DO UPDATE SET who = excluded.who, n = item.n + 1",
                self.dice.between(1, CONTESTED)
            ),
            8 => "TRUNCATE scratch".to_owned(),
            _ => {
                let fresh = self.keys.fresh(2);
                format!(
                    "INSERT INTO scratch (id, who) VALUES ({fresh}, {who}), ({}, {who})",
                    fresh + 1
                )
            }
        }
    }

    fn insert(&mut self, count: usize) -> String {
        let (who, first) = (self.who(), self.keys.fresh(count));
        let body = self.body();
        let last = first + i64::try_from(count).expect("a small number") - 1;
        format!(
            "INSERT INTO item (id, who, n, body) SELECT i, {who}, 0, {body} FROM generate_series({first}, {last}) i"
        )
    }

    /// A long one goes out of line, and is missing from the log where an UPDATE does not touch it.
    fn body(&mut self) -> String {
        match self.dice.below(20) {
            0 => format!(
                "'{}'",
                (0..400)
                    .map(|_| format!("{:08x}", self.dice.below(1 << 32)))
                    .collect::<String>()
            ),
            1..8 => "NULL".to_owned(),
            _ => format!("'{:x}'", self.dice.below(1 << 32)),
        }
    }

    async fn large(&mut self) -> Result<(), Error> {
        if self.number > 3 && self.dice.chance(40) {
            let base = self.keys.base();
            let sql = format!(
                "DELETE FROM bulk WHERE id BETWEEN {base} AND {}",
                base + 999_999_999
            );
            return self.write(&sql).await;
        }
        let count = self.dice.between(LARGE.0, LARGE.1);
        self.copy("bulk", count).await
    }

    async fn copy(&mut self, table: &str, count: usize) -> Result<(), Error> {
        let first = self.keys.fresh(count);
        let who = self
            .state
            .pending
            .as_deref()
            .or(self.state.context.as_deref())
            .unwrap_or("\\N")
            .to_owned();
        let sink = self
            .client
            .copy_in(&format!("COPY {table} (id, who, n, body) FROM STDIN"))
            .await?;
        let mut sink = std::pin::pin!(sink);
        let mut id = first;
        let last = first + i64::try_from(count).expect("a small number");
        while id < last {
            let to = last.min(id + 500);
            let rows: String = (id..to)
                .map(|id| format!("{id}\t{who}\t0\t{id:0>90}\n"))
                .collect();
            sink.send(bytes::Bytes::from(rows)).await?;
            id = to;
        }
        let copied = sink.finish().await?;
        self.state.changes += i64::try_from(copied).expect("a small number");
        Ok(())
    }

    async fn write(&mut self, sql: &str) -> Result<(), Error> {
        let is_truncate = sql.starts_with("TRUNCATE");
        for message in self.client.simple_query(sql).await? {
            if let SimpleQueryMessage::CommandComplete(count) = message {
                self.state.changes += if is_truncate {
                    1
                } else {
                    i64::try_from(count).expect("a small number")
                };
            }
        }
        Ok(())
    }

    fn name(&mut self) -> String {
        self.state.contexts += 1;
        format!("w{}.{}.{}", self.keys.writer, self.number, self.state.contexts)
    }

    async fn speak(&mut self) -> Result<(), Error> {
        let name = match self.state.pending.take() {
            Some(name) => name,
            None => self.name(),
        };
        self.client.batch_execute(&emit(&name)).await?;
        self.state.context = Some(name);
        Ok(())
    }

    /// What the column `who` of the next row has to hold, in SQL.
    fn who(&self) -> String {
        let who = self.state.pending.as_deref().or(self.state.context.as_deref());
        who.map_or_else(|| "NULL".to_owned(), |name| format!("'{name}'"))
    }
}

fn emit(name: &str) -> String {
    format!(r#"SELECT pg_logical_emit_message(true, '_bemi', '{{"user_id":"{name}"}}')"#)
}
