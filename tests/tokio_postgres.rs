//! tokio-postgres cannot tell the proxy from the server: a driver that pipelines, prepares everything it runs, and
//! notices every message out of place.
//!
//! Each scenario notes what it sees. It runs three times: directly, through the proxy without context, and through the
//! proxy with a context in its startup packet; the notes must be equal, and the log must hold a context for every
//! change of the last run.

mod support;

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join, join_all};
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use serde_json::Value as Json;
use support::proxy;
use support::wal::{Item, Transaction, WalReader};
use tokio::sync::mpsc;
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Error, NoTls, Row, SimpleQueryMessage};

const CONTEXT: &str = r#"{"user_id":187234}"#;

const TABLES: &str = "
    CREATE TYPE mood AS ENUM ('calm', 'busy');
    CREATE TABLE todo (id int PRIMARY KEY, task text, done boolean DEFAULT false);
    CREATE TABLE every_type (id bigserial PRIMARY KEY, b bytea, n bigint, f double precision, a int[], t text, m mood);
    INSERT INTO todo SELECT n, 'task ' || n FROM generate_series(1, 5) AS n;";

/// A client and what it has seen.
struct Peer {
    client: Client,
    notices: mpsc::UnboundedReceiver<DbError>,
    notes: Vec<String>,
}

impl Peer {
    async fn connect(config: &Config) -> Self {
        let (client, notices) = support::connect_with(config).await;
        Self {
            client,
            notices,
            notes: Vec::new(),
        }
    }

    fn note(&mut self, what: impl Debug) {
        self.notes.push(format!("{what:?}"));
    }

    async fn execute(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) {
        let result = self.client.execute(sql, parameters).await;
        self.note(result);
    }

    async fn query(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) {
        let rows = self.client.query(sql, parameters).await;
        self.note(rows.map(|rows| rows.iter().map(texts).collect::<Vec<_>>()));
    }

    async fn simple(&mut self, sql: &str) {
        let messages = self.client.simple_query(sql).await;
        self.note(messages.map(|messages| messages.iter().map(outline).collect::<Vec<_>>()));
    }
}

/// A row whose columns are all of type text or integer.
fn texts(row: &Row) -> Vec<String> {
    let cell = |at: usize| match *row.columns()[at].type_() {
        Type::INT4 => format!("{:?}", row.get::<_, Option<i32>>(at)),
        Type::INT8 => format!("{:?}", row.get::<_, Option<i64>>(at)),
        Type::BOOL => format!("{:?}", row.get::<_, Option<bool>>(at)),
        _ => format!("{:?}", row.get::<_, Option<String>>(at)),
    };
    (0..row.len()).map(cell).collect()
}

fn outline(message: &SimpleQueryMessage) -> String {
    match message {
        SimpleQueryMessage::Row(row) => {
            let cells: Vec<_> = (0..row.len()).map(|at| row.get(at)).collect();
            format!("{cells:?}")
        }
        other => format!("{other:?}"),
    }
}

async fn run(
    port: u16,
    context: Option<&str>,
    scenario: &impl AsyncFn(&mut Peer),
) -> (Vec<String>, Vec<Transaction>) {
    let cluster = support::cluster();
    let database = support::database(cluster).await;
    let direct = support::connect(cluster.port(), &database).await;
    direct.batch_execute(TABLES).await.expect("tables");
    let wal = WalReader::create(cluster, &database).await;
    let mut config = support::config(port, &database);
    if let Some(context) = context {
        config.options(format!("-c bemi.context={context}"));
    }
    let mut peer = Peer::connect(&config).await;
    scenario(&mut peer).await;
    let transactions = wal.transactions().await;
    wal.close().await;
    (peer.notes, transactions)
}

/// Runs a scenario in all three ways and compares; returns the last run's transactions.
async fn same(scenario: impl AsyncFn(&mut Peer)) -> Vec<Transaction> {
    let cluster = support::cluster();
    let proxy = proxy::start(cluster).await;
    let (expected, direct) = run(cluster.port(), None, &scenario).await;
    assert!(!expected.is_empty());
    let mut last = Vec::new();
    for context in [None, Some(CONTEXT)] {
        let (notes, transactions) = run(proxy.port(), context, &scenario).await;
        for (number, (expected, note)) in expected.iter().zip(&notes).enumerate() {
            assert_eq!(expected, note, "note {number}, context {context:?}");
        }
        assert_eq!(expected.len(), notes.len(), "context {context:?}");
        assert_eq!(changes(&direct), changes(&transactions), "context {context:?}");
        let messages = transactions.iter().flat_map(Transaction::messages);
        if context.is_none() {
            assert_eq!(messages.collect::<Vec<_>>(), Vec::<Json>::new());
        }
        last = transactions;
    }
    for context in last.iter().flat_map(Transaction::contexts) {
        let context = context.unwrap_or_else(|| panic!("a change without context: {last:#?}"));
        assert_eq!(context.get("user_id"), Some(&Json::from(187_234)), "{context}");
        assert!(context.get("SQL").is_some_and(Json::is_string), "{context}");
    }
    last
}

fn changes(transactions: &[Transaction]) -> Vec<Vec<String>> {
    let outline = |transaction: &Transaction| {
        let changes = transaction.items.iter().filter(|item| item.is_change());
        changes.map(Item::to_string).collect::<Vec<_>>()
    };
    let all = transactions.iter().map(outline);
    all.filter(|changes| !changes.is_empty()).collect()
}

#[tokio::test]
async fn prepared_statements_are_prepared_described_and_run_the_same() {
    same(async |peer: &mut Peer| {
        let insert = peer
            .client
            .prepare("INSERT INTO todo (id, task) VALUES ($1, $2) RETURNING id, done")
            .await;
        let insert = insert.expect("prepared");
        peer.note(insert.params());
        peer.note(
            insert
                .columns()
                .iter()
                .map(|c| (c.name().to_owned(), c.type_().clone()))
                .collect::<Vec<_>>(),
        );
        for id in [10, 11, 11, 12] {
            let rows = peer.client.query(&insert, &[&id, &"é €"]).await;
            peer.note(rows.map(|rows| rows.iter().map(texts).collect::<Vec<_>>()));
        }
        let typed = peer
            .client
            .prepare_typed("SELECT $1 || $2", &[Type::TEXT, Type::TEXT])
            .await;
        peer.note(
            peer.client
                .query(&typed.expect("prepared"), &[&"a", &"b"])
                .await
                .map(|rows| texts(&rows[0])),
        );
        peer.note(peer.client.prepare("UPDATE todo SET nowhere = $1").await.err());
        drop(insert);
        peer.execute("UPDATE todo SET done = $1 WHERE id = $2", &[&true, &12])
            .await;
        peer.query("DELETE FROM todo WHERE id > $1 RETURNING id, task", &[&10])
            .await;
        let typed = peer
            .client
            .query_typed(
                "INSERT INTO todo VALUES ($1) RETURNING id",
                &[(&20_i32, Type::INT4)],
            )
            .await;
        peer.note(typed.map(|rows| rows.iter().map(texts).collect::<Vec<_>>()));
        peer.execute("", &[]).await;
    })
    .await;
}

#[tokio::test]
async fn transactions_and_savepoints_are_the_same() {
    let transactions = same(async |peer: &mut Peer| {
        let sql = "INSERT INTO todo (id) VALUES ($1)";
        let mut transaction = peer.client.transaction().await.expect("begun");
        let mut notes = vec![transaction.execute(sql, &[&10]).await];
        let savepoint = transaction.savepoint("one_more").await.expect("a savepoint");
        notes.push(savepoint.execute(sql, &[&11]).await);
        notes.push(savepoint.execute(sql, &[&1]).await);
        notes.push(savepoint.execute(sql, &[&12]).await);
        savepoint.rollback().await.expect("rolled back");
        notes.push(transaction.execute(sql, &[&13]).await);
        let nested = transaction.transaction().await.expect("a savepoint");
        notes.push(nested.execute(sql, &[&14]).await);
        nested.commit().await.expect("released");
        transaction.commit().await.expect("committed");
        let dropped = peer.client.transaction().await.expect("begun");
        notes.push(dropped.execute(sql, &[&15]).await);
        drop(dropped);
        let read_only = peer
            .client
            .build_transaction()
            .read_only(true)
            .start()
            .await
            .expect("begun");
        notes.push(read_only.execute(sql, &[&16]).await);
        notes.push(read_only.commit().await.map(|()| 0));
        peer.note(notes);
        peer.query("SELECT id FROM todo ORDER BY id", &[]).await;
    })
    .await;
    assert_eq!(
        transactions
            .iter()
            .filter(|transaction| !transaction.contexts().is_empty())
            .count(),
        1
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_errors_among_them() {
    let transactions = same(async |peer: &mut Peer| {
        let insert = peer
            .client
            .prepare("INSERT INTO todo (id) VALUES ($1)")
            .await
            .expect("prepared");
        let select = peer.client.prepare("SELECT $1::int + 1").await.expect("prepared");
        let ids: Vec<i32> = (1..=60).collect();
        let inserts = join_all(
            ids.iter()
                .map(async |id| peer.client.execute(&insert, &[id]).await),
        );
        let selects = join_all(
            ids.iter()
                .map(async |id| peer.client.query_one(&select, &[id]).await.map(|row| texts(&row))),
        );
        let batch = peer
            .client
            .batch_execute("INSERT INTO todo VALUES (100); SELECT 1; INSERT INTO todo VALUES (101)");
        let ((inserted, selected), batched) = join(join(inserts, selects), batch).await;
        peer.note(inserted);
        peer.note(selected);
        peer.note(batched);
        let again = ids.iter().map(|id| {
            let client = &peer.client;
            async move {
                let sql = format!("UPDATE todo SET task = '{id}' WHERE id = {id}; SELECT 1 / ({id} % 7)");
                client
                    .simple_query(&sql)
                    .await
                    .map(|messages| messages.iter().map(outline).collect::<Vec<_>>())
            }
        });
        let again = join_all(again).await;
        peer.note(again);
    })
    .await;
    assert_eq!(
        transactions
            .iter()
            .filter(|transaction| !transaction.contexts().is_empty())
            .count(),
        55 + 1 + 52
    );
}

#[tokio::test]
async fn a_pipeline_far_longer_than_any_buffer_is_answered_in_full() {
    const LENGTH: i32 = 15_000;
    let transactions = same(async |peer: &mut Peer| {
        let sql = "INSERT INTO todo (id) VALUES ($1) RETURNING repeat('x', 100)";
        let insert = peer.client.prepare(sql).await.expect("prepared");
        let ids: Vec<i32> = (100..100 + LENGTH).collect();
        let inserted = join_all(
            ids.iter()
                .map(async |id| peer.client.query(&insert, &[id]).await.is_ok()),
        )
        .await;
        peer.note(inserted.iter().filter(|is_ok| **is_ok).count());
        peer.query("SELECT count(*), min(id), max(id) FROM todo", &[])
            .await;
    })
    .await;
    assert_eq!(transactions.len(), usize::try_from(LENGTH).expect("small"));
}

#[tokio::test]
async fn simple_queries_and_batches_are_the_same() {
    same(async |peer: &mut Peer| {
        peer.simple("SELECT 1 AS a; INSERT INTO todo VALUES (10, 'x') RETURNING id, task; ; UPDATE todo SET done = true").await;
        peer.simple("").await;
        peer.simple("BEGIN; DELETE FROM todo WHERE id = 10; SELECT mistake; COMMIT").await;
        peer.simple("INSERT INTO todo VALUES (11)").await;
        peer.simple("ROLLBACK; INSERT INTO todo VALUES (12); SELECT id FROM todo ORDER BY id").await;
        let result = peer.client.batch_execute("INSERT INTO todo VALUES (13); INSERT INTO todo VALUES (1)").await;
        peer.note(result);
        peer.simple("PREPARE put AS INSERT INTO todo VALUES ($1); EXECUTE put(14); EXECUTE put(15); DEALLOCATE put").await;
        peer.simple("DECLARE c CURSOR WITH HOLD FOR SELECT id FROM todo ORDER BY id; FETCH 2 FROM c; CLOSE c").await;
    })
    .await;
}

#[tokio::test]
async fn binary_parameters_and_types_of_the_server_are_the_same() {
    same(async |peer: &mut Peer| {
        let bytes: Vec<u8> = (0..=255).collect();
        let sql = "INSERT INTO every_type (b, n, f, a, t) VALUES ($1, $2, $3, $4, $5) RETURNING id";
        peer.query(
            sql,
            &[
                &bytes,
                &i64::MIN,
                &f64::MIN_POSITIVE,
                &vec![Some(1), None],
                &"quote ' \\ \u{1F418}",
            ],
        )
        .await;
        let none: Option<&str> = None;
        peer.query(
            sql,
            &[&vec![0_u8; 300_000], &0_i64, &f64::NAN, &Vec::<i32>::new(), &none],
        )
        .await;
        let long = "x".repeat(1_000_000);
        peer.query(
            "INSERT INTO todo (id, task) VALUES ($1, $2) RETURNING length(task)",
            &[&10, &long],
        )
        .await;
        let statement = peer
            .client
            .prepare("UPDATE every_type SET m = $1 WHERE id = 1 RETURNING m")
            .await
            .expect("prepared");
        peer.note(statement.params()[0].name());
        peer.note(statement.params()[0].kind());
        let row = peer
            .client
            .query_one("SELECT b, n, f, a, t FROM every_type WHERE id = 1", &[])
            .await
            .expect("a row");
        peer.note(row.get::<_, Vec<u8>>(0) == bytes);
        peer.note((
            row.get::<_, i64>(1),
            row.get::<_, f64>(2),
            row.get::<_, Vec<Option<i32>>>(3),
            row.get::<_, String>(4),
        ));
        peer.execute("UPDATE every_type SET n = n + $1", &[&1_i64]).await;
    })
    .await;
}

#[tokio::test]
async fn copy_in_and_out_is_the_same() {
    same(async |peer: &mut Peer| {
        let sink = peer
            .client
            .copy_in("COPY todo (id, task) FROM STDIN")
            .await
            .expect("a copy");
        let mut sink = pin!(sink);
        let lines = (100..2000).map(|id| Ok::<_, Error>(Bytes::from(format!("{id}\ttask {id}\n"))));
        sink.send_all(&mut futures_util::stream::iter(lines))
            .await
            .expect("sent");
        peer.note(sink.finish().await);

        let sink = peer
            .client
            .copy_in("COPY todo (id, task) FROM STDIN BINARY")
            .await
            .expect("a copy");
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &[Type::INT4, Type::TEXT]));
        for id in 3000..3100 {
            writer.as_mut().write(&[&id, &"binary"]).await.expect("written");
        }
        peer.note(writer.finish().await);

        let sink = peer
            .client
            .copy_in::<_, Bytes>("COPY todo FROM STDIN")
            .await
            .expect("a copy");
        drop(sink);
        peer.query("SELECT count(*) FROM todo", &[]).await;

        let mut sink = pin!(
            peer.client
                .copy_in("COPY todo (id) FROM STDIN")
                .await
                .expect("a copy")
        );
        sink.send(Bytes::from_static(b"1\n")).await.expect("sent");
        peer.note(sink.finish().await);
        let out = peer.client.copy_out("COPY todo TO STDOUT").await.expect("a copy");
        let out: Vec<Bytes> = out.try_collect().await.expect("rows");
        peer.note(out.concat().len());
        let out = peer
            .client
            .copy_out("COPY (SELECT id, task FROM todo ORDER BY id LIMIT 3) TO STDOUT BINARY")
            .await;
        let rows = BinaryCopyOutStream::new(out.expect("a copy"), &[Type::INT4, Type::TEXT]);
        let rows: Vec<_> = rows.try_collect().await.expect("rows");
        peer.note(
            rows.iter()
                .map(|row| (row.get::<i32>(0), row.get::<&str>(1).to_owned()))
                .collect::<Vec<_>>(),
        );
        peer.execute("DELETE FROM todo WHERE id >= $1", &[&100]).await;
        // The last thing: tokio-postgres itself is out of step after this one.
        peer.note(
            peer.client
                .copy_in::<_, Bytes>("COPY nowhere FROM STDIN")
                .await
                .err(),
        );
    })
    .await;
}

#[tokio::test]
async fn portals_with_row_limits_get_one_message_and_all_their_rows() {
    let transactions = same(async |peer: &mut Peer| {
        let transaction = peer.client.transaction().await.expect("begun");
        let sql = "INSERT INTO todo SELECT n FROM generate_series(10, 19) AS n RETURNING id";
        let insert = transaction.bind(sql, &[]).await.expect("bound");
        let select = transaction
            .bind("SELECT id FROM todo ORDER BY id", &[])
            .await
            .expect("bound");
        let mut counts = Vec::new();
        for limit in [3, 3, 0, 3] {
            counts.push(
                transaction
                    .query_portal(&insert, limit)
                    .await
                    .map(|rows| rows.len()),
            );
            counts.push(
                transaction
                    .query_portal(&select, limit)
                    .await
                    .map(|rows| rows.len()),
            );
        }
        transaction.commit().await.expect("committed");
        peer.note(counts);
    })
    .await;
    assert_eq!(transactions.len(), 1);
    assert_eq!(transactions[0].messages().len(), 1);
    assert_eq!(transactions[0].contexts().len(), 10);
}

#[tokio::test]
async fn notices_come_and_a_running_write_can_be_cancelled() {
    same(async |peer: &mut Peer| {
        peer.simple(
            "CREATE FUNCTION warned() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE NOTICE 'row %', NEW.id; PERFORM pg_sleep(NEW.id - 100); RETURN NEW; END $$;
             CREATE TRIGGER warned BEFORE INSERT ON todo FOR EACH ROW EXECUTE FUNCTION warned()",
        )
        .await;
        peer.execute("INSERT INTO todo VALUES ($1), ($1 + 1)", &[&10])
            .await;
        peer.simple("INSERT INTO todo VALUES (12); INSERT INTO todo VALUES (13)")
            .await;
        for _ in 0..4 {
            let notice = peer.notices.recv().await;
            peer.note(notice);
        }
        let token = peer.client.cancel_token();
        let cancelled = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            token.cancel_query(NoTls).await.is_ok()
        };
        let (result, sent) = join(
            peer.client.execute("INSERT INTO todo VALUES (200)", &[]),
            cancelled,
        )
        .await;
        assert_eq!(
            result.as_ref().err().and_then(Error::code),
            Some(&SqlState::QUERY_CANCELED)
        );
        peer.note((result, sent));
        peer.execute("INSERT INTO todo VALUES (20)", &[]).await;
    })
    .await;
}

#[tokio::test]
async fn the_list_of_prepared_statements_is_the_clients_own() {
    same(async |peer: &mut Peer| {
        const LIST: &str = "SELECT statement FROM pg_prepared_statements ORDER BY statement";
        let sql = "INSERT INTO todo VALUES ($1)";
        let insert = peer.client.prepare(sql).await.expect("prepared");
        for id in [10, 11, 12] {
            let result = peer.client.execute(&insert, &[&id]).await;
            peer.note(result);
            peer.query(LIST, &[]).await;
            let result = peer.client.execute(&insert, &[&(id + 10)]).await;
            peer.note(result);
            peer.simple(LIST).await;
        }
        let transaction = peer.client.transaction().await.expect("begun");
        let result = transaction.execute(&insert, &[&30]).await;
        let listed = transaction
            .query(LIST, &[])
            .await
            .expect("listed")
            .iter()
            .map(texts)
            .collect::<Vec<_>>();
        transaction.commit().await.expect("committed");
        peer.note((result, listed));
        for forget in ["DISCARD ALL", "DEALLOCATE ALL"] {
            peer.execute("UPDATE todo SET done = true WHERE id = 1", &[])
                .await;
            peer.simple(forget).await;
            peer.simple(LIST).await;
            let result = peer.client.execute(&insert, &[&40]).await;
            peer.note(result.err().and_then(|error| error.code().cloned()));
        }
        peer.query("SELECT id FROM todo ORDER BY id", &[]).await;
    })
    .await;
}

#[tokio::test]
async fn a_large_result_may_be_left_unread() {
    same(async |peer: &mut Peer| {
        let none: [i32; 0] = [];
        let rows = peer
            .client
            .query_raw(
                "SELECT n::int, repeat('x', 100) FROM generate_series(1, 50000) AS n",
                none,
            )
            .await;
        let mut rows = pin!(rows.expect("rows"));
        let first = rows.next().await.expect("a row").expect("a row");
        peer.note(texts(&first));
        let (count, inserted) = join(
            rows.count(),
            peer.client.execute("INSERT INTO todo VALUES (10)", &[]),
        )
        .await;
        peer.note((count, inserted));
        let rows = peer
            .client
            .query_raw("SELECT n::int FROM generate_series(1, 50000) AS n", none)
            .await;
        drop(rows.expect("rows"));
        peer.execute("INSERT INTO todo VALUES (11)", &[]).await;
    })
    .await;
}
