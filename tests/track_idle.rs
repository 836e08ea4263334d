//! `bemi track` on a database where nothing happens, while much happens beside it.

mod support;

use std::time::{Duration, Instant};

use bemi::replication::Lsn;
use support::track_process::TrackProcess;
use support::{cluster, database};
use tokio_postgres::Client;

const PATIENCE: Duration = Duration::from_secs(60);

async fn text(client: &Client, query: &str) -> String {
    client.query_one(query, &[]).await.expect("an answer").get(0)
}

async fn lsn(client: &Client, query: &str) -> Lsn {
    text(client, query).await.parse().expect("a position")
}

#[tokio::test]
async fn an_idle_database_moves_its_slot_and_then_is_quiet() {
    const CONFIRMED: &str =
        "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = 'idle'";
    const BEGUN: &str = "SELECT slot FROM changes_progress";
    // There is no position as long as the slot is being made.
    const STORED: &str = "SELECT lsn::text || ' ' || updated_at FROM changes_progress WHERE lsn IS NOT NULL";
    const END: &str = "SELECT pg_current_wal_lsn()::text";

    let (idle, busy) = (database(cluster()).await, database(cluster()).await);
    let arguments = ["--slot", "idle", "--set", "track.status_interval=300ms"];
    let client = support::connect(cluster().port(), &idle).await;
    let other = support::connect(cluster().port(), &busy).await;
    other
        .batch_execute("BEGIN; SELECT pg_current_xact_id()")
        .await
        .expect("a transaction that writes");
    let tracker = TrackProcess::on(cluster(), &idle, &arguments);
    let deadline = Instant::now() + PATIENCE;
    // The slot is not made as long as that transaction is there.
    while client.query_one(BEGUN, &[]).await.is_err() {
        assert!(Instant::now() < deadline, "it does not begin:\n{}", tracker.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        client.query_one(STORED, &[]).await.is_err(),
        "a position without a slot"
    );
    other.batch_execute("COMMIT").await.expect("its end");
    while client.query_one(STORED, &[]).await.is_err() {
        assert!(Instant::now() < deadline, "it does not begin:\n{}", tracker.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    other
        .batch_execute("CREATE TABLE t AS SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g")
        .await
        .expect("some log");
    let end = lsn(&client, END).await;
    while lsn(&client, CONFIRMED).await < end {
        assert!(
            Instant::now() < deadline,
            "the slot stays where it is:\n{}",
            tracker.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // The slot is never ahead of what is stored.
    let stored = text(&client, STORED).await;
    let stored_lsn: Lsn = stored
        .split(' ')
        .next()
        .expect("a position")
        .parse()
        .expect("a position");
    assert!(stored_lsn >= lsn(&client, CONFIRMED).await);
    // To store progress makes log, which must not be progress again.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(text(&client, STORED).await, stored);
}
