//! Reads back what stands in the write-ahead log, by logical decoding with `pgoutput`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use bemi::demo::cluster::Cluster;
use bemi::replication::pgoutput::{Message, OldTuple, Relation, Tuple, Value, decode};
use serde_json::Value as Json;
use tokio_postgres::Client;

/// The prefix of bemi's own messages.
const PREFIX: &str = "_bemi";

/// A logical slot of its own in one database, and a publication of all its tables.
pub struct WalReader {
    client: Client,
    slot: String,
    publication: String,
}

impl WalReader {
    /// Starts reading here: what is committed from now on is seen.
    ///
    /// Making a slot waits until every transaction that now writes, anywhere in the cluster, has ended: make it before
    /// the test opens one.
    pub async fn create(cluster: &Cluster, database: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let slot = format!("wal_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let publication = slot.clone();
        let client = super::connect(cluster.port(), database).await;
        // The decoder looks the publication up as of each change: it has to be there first.
        client
            .batch_execute(&format!("CREATE PUBLICATION {publication} FOR ALL TABLES"))
            .await
            .expect("a publication");
        client
            .execute(
                "SELECT pg_create_logical_replication_slot($1, 'pgoutput')",
                &[&slot],
            )
            .await
            .expect("a replication slot");
        Self {
            client,
            slot,
            publication,
        }
    }

    /// What was committed since the last call, in the order of the commits, without empty transactions.
    pub async fn transactions(&self) -> Vec<Transaction> {
        let rows = self
            .client
            .query(
                "SELECT data FROM pg_logical_slot_get_binary_changes($1, NULL, NULL, \
                 'proto_version', '1', 'publication_names', $2, 'messages', 'true')",
                &[&self.slot, &self.publication],
            )
            .await
            .expect("changes from the slot");
        let mut log = Log::default();
        for row in &rows {
            log.push(row.get(0));
        }
        log.transactions
            .retain(|transaction| !transaction.items.is_empty());
        log.transactions
    }

    /// As [`WalReader::transactions`], for a test that knows it wrote exactly one.
    pub async fn transaction(&self) -> Transaction {
        let mut transactions = self.transactions().await;
        assert_eq!(
            transactions.len(),
            1,
            "exactly one transaction, not {transactions:#?}"
        );
        transactions.remove(0)
    }

    /// Gives the slot back; without it, it lasts as long as the cluster.
    pub async fn close(self) {
        self.client
            .batch_execute(&format!(
                "SELECT pg_drop_replication_slot('{}'); DROP PUBLICATION {}",
                self.slot, self.publication
            ))
            .await
            .expect("the slot dropped");
    }
}

/// A row, by column. An unchanged TOAST value is not in the log and so not in here.
pub type Row = BTreeMap<String, Option<String>>;

/// What one transaction wrote, in the order of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    /// Its id; 0 for a message sent outside of any.
    pub xid: u32,
    pub items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Message {
        prefix: String,
        content: Vec<u8>,
        transactional: bool,
    },
    Insert {
        schema: String,
        table: String,
        new: Row,
    },
    Update {
        schema: String,
        table: String,
        old: Option<Row>,
        new: Row,
    },
    Delete {
        schema: String,
        table: String,
        old: Row,
    },
    Truncate {
        tables: Vec<(String, String)>,
    },
}

impl Item {
    /// The JSON of one of bemi's messages.
    pub fn context(&self) -> Option<Json> {
        match self {
            Self::Message { prefix, content, .. } if prefix == PREFIX => {
                Some(serde_json::from_slice(content).expect("bemi's messages are JSON"))
            }
            _other => None,
        }
    }

    /// Whether this changes `table`, in any schema.
    pub fn changes(&self, table: &str) -> bool {
        match self {
            Self::Message { .. } => false,
            Self::Insert { table: name, .. }
            | Self::Update { table: name, .. }
            | Self::Delete { table: name, .. } => name == table,
            Self::Truncate { tables } => tables.iter().any(|(_, name)| name == table),
        }
    }

    pub fn is_change(&self) -> bool {
        !matches!(self, Self::Message { .. })
    }
}

impl Transaction {
    /// All of bemi's messages.
    pub fn messages(&self) -> Vec<Json> {
        self.items.iter().filter_map(Item::context).collect()
    }

    /// Bemi's messages ahead of the first change of `table`; none also when there is no such change.
    pub fn messages_before(&self, table: &str) -> Vec<Json> {
        let end = self
            .items
            .iter()
            .position(|item| item.changes(table))
            .unwrap_or(0);
        self.items[..end].iter().filter_map(Item::context).collect()
    }

    /// The context of each row change: the latest of bemi's messages before it.
    pub fn contexts(&self) -> Vec<Option<Json>> {
        let mut latest = None;
        let mut contexts = Vec::new();
        for item in &self.items {
            latest = item.context().or(latest);
            if item.is_change() {
                contexts.push(latest.clone());
            }
        }
        contexts
    }

    /// One line per item: `message _bemi {"user_id":1}`, `INSERT todo id=1 task=null`, ...
    pub fn outline(&self) -> Vec<String> {
        self.items.iter().map(ToString::to_string).collect()
    }
}

/// The changes, one line each, transaction by transaction, without the messages.
pub fn changes(transactions: &[Transaction]) -> Vec<Vec<String>> {
    let outline = |transaction: &Transaction| {
        let changes = transaction.items.iter().filter(|item| item.is_change());
        changes.map(Item::to_string).collect::<Vec<_>>()
    };
    let all = transactions.iter().map(outline);
    all.filter(|changes| !changes.is_empty()).collect()
}

impl fmt::Display for Item {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { prefix, content, .. } => write!(formatter, "message {prefix} {}", text(content)),
            Self::Insert { table, new, .. } => write!(formatter, "INSERT {table}{}", columns(new)),
            Self::Update { table, new, .. } => write!(formatter, "UPDATE {table}{}", columns(new)),
            Self::Delete { table, old, .. } => write!(formatter, "DELETE {table}{}", columns(old)),
            Self::Truncate { tables } => {
                let names: Vec<_> = tables.iter().map(|(_, name)| name.as_str()).collect();
                write!(formatter, "TRUNCATE {}", names.join(", "))
            }
        }
    }
}

fn columns(row: &Row) -> String {
    row.iter()
        .map(|(name, value)| format!(" {name}={}", value.as_deref().unwrap_or("null")))
        .collect()
}

/// Puts messages together into transactions.
#[derive(Default)]
struct Log {
    transactions: Vec<Transaction>,
    relations: HashMap<u32, Table>,
    is_open: bool,
}

struct Table {
    schema: String,
    name: String,
    columns: Vec<String>,
}

impl Log {
    fn push(&mut self, bytes: &[u8]) {
        let message = decode(bytes).unwrap_or_else(|error| panic!("{error}: {}", bytes.escape_ascii()));
        match message {
            Message::Begin(begin) => {
                self.transactions.push(Transaction {
                    xid: begin.xid,
                    items: Vec::new(),
                });
                self.is_open = true;
            }
            Message::Commit(_) => self.is_open = false,
            Message::Relation(relation) => {
                self.relations.insert(relation.oid, Table::new(&relation));
            }
            Message::Logical(message) => self.item(Item::Message {
                prefix: text(message.prefix),
                content: message.content.to_vec(),
                transactional: message.transactional,
            }),
            Message::Insert(insert) => {
                let (schema, table, new) = self.row(insert.relation, &insert.new);
                self.item(Item::Insert { schema, table, new });
            }
            Message::Update(update) => {
                let (schema, table, new) = self.row(update.relation, &update.new);
                let old = update.old.map(|old| self.old_row(update.relation, &old));
                self.item(Item::Update {
                    schema,
                    table,
                    old,
                    new,
                });
            }
            Message::Delete(delete) => {
                let (OldTuple::Key(tuple) | OldTuple::Full(tuple)) = &delete.old;
                let (schema, table, _) = self.row(delete.relation, tuple);
                let old = self.old_row(delete.relation, &delete.old);
                self.item(Item::Delete { schema, table, old });
            }
            Message::Truncate(truncate) => {
                let tables = truncate.relations.iter().map(|oid| &self.relations[oid]);
                let tables = tables
                    .map(|table| (table.schema.clone(), table.name.clone()))
                    .collect();
                self.item(Item::Truncate { tables });
            }
            Message::Type(_) | Message::Origin(_) => {}
            other => panic!("protocol version 1 has no {other:?}"),
        }
    }

    fn item(&mut self, item: Item) {
        if !self.is_open {
            self.transactions.push(Transaction {
                xid: 0,
                items: Vec::new(),
            });
        }
        self.transactions
            .last_mut()
            .expect("one was just pushed")
            .items
            .push(item);
    }

    fn row(&self, relation: u32, tuple: &Tuple<'_>) -> (String, String, Row) {
        let table = &self.relations[&relation];
        assert_eq!(
            table.columns.len(),
            tuple.len(),
            "a value per column of {}",
            table.name
        );
        let row = table
            .columns
            .iter()
            .zip(tuple)
            .filter_map(|(name, value)| match value {
                Value::Null => Some((name.clone(), None)),
                Value::Text(bytes) => Some((name.clone(), Some(text(bytes)))),
                Value::UnchangedToast => None,
                Value::TooLong => panic!("no message was shortened"),
                Value::Binary(_) => panic!("binary values were not asked for"),
            });
        (table.schema.clone(), table.name.clone(), row.collect())
    }

    /// A key has null for every other column, which says nothing of what it held.
    fn old_row(&self, relation: u32, old: &OldTuple<'_>) -> Row {
        match old {
            OldTuple::Full(tuple) => self.row(relation, tuple).2,
            OldTuple::Key(tuple) => self
                .row(relation, tuple)
                .2
                .into_iter()
                .filter(|(_, value)| value.is_some())
                .collect(),
        }
    }
}

impl Table {
    fn new(relation: &Relation<'_>) -> Self {
        let schema = if relation.schema.is_empty() {
            b"pg_catalog"
        } else {
            relation.schema
        };
        Self {
            schema: text(schema),
            name: text(relation.name),
            columns: relation.columns.iter().map(|column| text(column.name)).collect(),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the databases of tests are UTF-8")
}
