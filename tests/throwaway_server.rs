//! What the other integration tests stand on: the shared server, and reading back its write-ahead log.

mod support;

use serde_json::json;
use support::wal::{Item, WalReader};

#[tokio::test]
async fn messages_and_changes_come_back_in_the_order_of_the_log() {
    let cluster = support::cluster();
    let database = support::database(cluster).await;
    let client = support::connect(cluster.port(), &database).await;
    client
        .batch_execute("CREATE TABLE todo (id int PRIMARY KEY, task text); CREATE TABLE other (id int)")
        .await
        .unwrap();
    let wal = WalReader::create(cluster, &database).await;
    client
        .batch_execute(
            r#"BEGIN;
            SELECT pg_logical_emit_message(true, '_bemi', '{"n": 1}');
            INSERT INTO other VALUES (1);
            SELECT pg_logical_emit_message(true, 'someone else', 'not JSON');
            SELECT pg_logical_emit_message(true, '_bemi', '{"n": 2}');
            INSERT INTO todo VALUES (1, 'Sleep'), (2, NULL);
            UPDATE todo SET task = 'Eat' WHERE id = 1;
            UPDATE todo SET id = 3 WHERE id = 2;
            DELETE FROM todo WHERE id = 1;
            TRUNCATE todo, other;
            COMMIT"#,
        )
        .await
        .unwrap();
    let transaction = wal.transaction().await;
    assert_eq!(
        transaction.outline(),
        [
            r#"message _bemi {"n": 1}"#,
            "INSERT other id=1",
            "message someone else not JSON",
            r#"message _bemi {"n": 2}"#,
            "INSERT todo id=1 task=Sleep",
            "INSERT todo id=2 task=null",
            "UPDATE todo id=1 task=Eat",
            "UPDATE todo id=3 task=null",
            "DELETE todo id=1",
            "TRUNCATE todo, other",
        ]
    );
    assert_eq!(
        transaction.messages_before("todo"),
        [json!({"n": 1}), json!({"n": 2})]
    );
    assert_eq!(transaction.messages_before("other"), [json!({"n": 1})]);
    assert!(transaction.messages_before("nothing").is_empty());
    let mut expected = vec![Some(json!({"n": 2})); 7];
    expected[0] = Some(json!({"n": 1}));
    assert_eq!(transaction.contexts(), expected);
    assert!(wal.transactions().await.is_empty());
    wal.close().await;
}

#[tokio::test]
async fn transactions_come_one_by_one_and_rolled_back_ones_not_at_all() {
    let cluster = support::cluster();
    let database = support::database(cluster).await;
    let client = support::connect(cluster.port(), &database).await;
    client
        .batch_execute("CREATE TABLE todo (id int PRIMARY KEY)")
        .await
        .unwrap();
    let wal = WalReader::create(cluster, &database).await;
    for statement in [
        "INSERT INTO todo VALUES (1)",
        "BEGIN; INSERT INTO todo VALUES (2); ROLLBACK",
        "SELECT pg_logical_emit_message(false, '_bemi', '{}')",
        "INSERT INTO todo VALUES (3)",
    ] {
        client.batch_execute(statement).await.unwrap();
    }
    let transactions = wal.transactions().await;
    let outlines: Vec<_> = transactions
        .iter()
        .flat_map(|transaction| transaction.outline())
        .collect();
    assert_eq!(
        outlines,
        ["INSERT todo id=1", "message _bemi {}", "INSERT todo id=3"]
    );
    assert_eq!(transactions.len(), 3);
    assert!(matches!(
        transactions[1].items[0],
        Item::Message {
            transactional: false,
            ..
        }
    ));
    assert_ne!(transactions[0].xid, transactions[2].xid);
}

#[tokio::test]
async fn notices_reach_the_test() {
    let cluster = support::cluster();
    let (client, mut notices) = support::connect_with(&support::config(cluster.port(), "postgres")).await;
    client
        .batch_execute("DO $$ BEGIN RAISE WARNING 'careful'; END $$")
        .await
        .unwrap();
    assert_eq!(notices.recv().await.unwrap().message(), "careful");
}
