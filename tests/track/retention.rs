//! `changes` in partitions of time.

use crate::tracker::{Tracker, cluster, run_to_its_end};

const T: &str = "CREATE TABLE t (id int PRIMARY KEY)";

/// The partitions there are, by name.
async fn partitions(tracker: &Tracker) -> Vec<String> {
    let query = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                  WHERE i.inhparent = 'changes'::regclass ORDER BY 1";
    let rows = tracker
        .destination
        .query(query, &[])
        .await
        .expect("the partitions");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Days from today, in UTC, as partitions are called after them.
async fn names(tracker: &Tracker, expressions: &[&str]) -> Vec<String> {
    let query = format!(
        "SELECT to_char(day, '\"changes_p\"YYYYMMDD') FROM unnest(ARRAY[{}]::timestamp[]) day",
        expressions.join(", ")
    );
    let rows = tracker.destination.query(&query, &[]).await.expect("names");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Inserts a row in a transaction that was committed at this time, as one says that comes from another server.
async fn insert_at(tracker: &Tracker, id: i32, time: &str) {
    let origin = format!("origin of {}", tracker.database());
    let made = format!(
        "SELECT pg_replication_origin_create('{origin}') WHERE pg_replication_origin_oid('{origin}') IS NULL"
    );
    tracker.run(&made).await;
    tracker
        .run(&format!(
            "SELECT pg_replication_origin_session_setup('{origin}');
             BEGIN; SELECT pg_replication_origin_xact_setup('0/{id:X}', '{time}'); INSERT INTO t VALUES ({id}); COMMIT;
             SELECT pg_replication_origin_session_reset()"
        ))
        .await;
}

/// Ids, and the partition that each is in.
async fn placed(tracker: &mut Tracker) -> Vec<(String, String)> {
    tracker.caught_up().await;
    // A commit shows its rows a moment before it tells other sessions of the partitions it attached (`CommitTransaction`,
    // xact.c: ProcArrayEndTransaction, then AtEOXact_Inval), and gives its locks back only after both.
    tracker
        .destination
        .batch_execute("BEGIN; LOCK TABLE changes IN SHARE UPDATE EXCLUSIVE MODE; COMMIT")
        .await
        .expect("a lock");
    let query = "SELECT primary_key, tableoid::regclass::text FROM changes WHERE \"table\" = 't' ORDER BY committed_at, id";
    let rows = tracker.destination.query(query, &[]).await.expect("the changes");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn partitions_of_months_are_there_before_they_are_needed() {
    let mut tracker = Tracker::on(T, &["--retention", "90d"]).await;
    tracker.run("INSERT INTO t VALUES (1)").await;
    let ahead = names(
        &tracker,
        &[
            "date_trunc('month', now())",
            "date_trunc('month', now() + interval '31 days')",
        ],
    )
    .await;
    assert_eq!(placed(&mut tracker).await, [("1".to_owned(), ahead[0].clone())]);
    assert_eq!(partitions(&tracker).await, ahead);
}

#[tokio::test]
async fn partitions_of_days_are_there_before_they_are_needed() {
    let mut tracker = Tracker::on(T, &["--retention", "90d", "--set", "track.partition_by=day"]).await;
    tracker.run("INSERT INTO t VALUES (1)").await;
    let ahead = names(&tracker, &["now()", "now() + interval '1 day'"]).await;
    assert_eq!(placed(&mut tracker).await, [("1".to_owned(), ahead[0].clone())]);
    assert_eq!(partitions(&tracker).await, ahead);
}

#[tokio::test]
async fn rows_that_come_late_get_partitions_of_the_past() {
    let mut tracker = Tracker::on(T, &["--retention", "9999d", "--set", "track.partition_by=day"]).await;
    insert_at(&tracker, 1, "2024-02-29 23:59:59.999999+00").await;
    insert_at(&tracker, 2, "2024-03-01 00:00:00+00").await;
    insert_at(&tracker, 3, "2024-02-28 12:00:00+00").await;
    let wanted = [
        ("3", "changes_p20240228"),
        ("1", "changes_p20240229"),
        ("2", "changes_p20240301"),
    ];
    assert_eq!(
        placed(&mut tracker).await,
        wanted.map(|(id, name)| (id.to_owned(), name.to_owned()))
    );
}

/// Behind a week in which it did not run, one piece of what is stored holds several days.
#[tokio::test]
async fn rows_of_many_days_may_come_together() {
    let arguments = ["--retention", "9999d", "--set", "track.partition_by=day"];
    let mut tracker = Tracker::on(T, &arguments).await;
    tracker.caught_up().await;
    assert!(tracker.stop().await.success());
    let days = [
        "2024-05-03",
        "2024-05-01",
        "2024-05-09",
        "2024-05-05",
        "2024-05-07",
        "2024-05-02",
    ];
    for (id, day) in (1_i32..).zip(days) {
        insert_at(&tracker, id, &format!("{day} 10:00:00+00")).await;
    }
    tracker.start_again(&arguments).await;
    let found: Vec<String> = placed(&mut tracker)
        .await
        .into_iter()
        .map(|(_, partition)| partition)
        .collect();
    let mut wanted = days.map(|day| format!("changes_p{}", day.replace('-', "")));
    wanted.sort();
    assert_eq!(found, wanted, "{}", tracker.log());
}

#[tokio::test]
async fn partitions_that_have_had_their_time_are_dropped() {
    let arguments = ["--retention", "30d"];
    let mut tracker = Tracker::on(T, &arguments).await;
    insert_at(&tracker, 1, "2024-02-29 10:00:00+00").await;
    tracker.run("INSERT INTO t VALUES (2)").await;
    assert_eq!(
        placed(&mut tracker).await[0],
        ("1".to_owned(), "changes_p20240201".to_owned())
    );
    // Not ours, and so not to be dropped.
    let theirs =
        "CREATE TABLE changes_of_old PARTITION OF changes FOR VALUES FROM ('2001-01-01') TO ('2001-02-01')";
    tracker
        .destination
        .batch_execute(theirs)
        .await
        .expect("a partition");
    assert!(tracker.stop().await.success());
    tracker.start_again(&arguments).await;
    let left = placed(&mut tracker).await;
    assert_eq!(left.len(), 1, "{left:?}");
    let found = partitions(&tracker).await;
    assert!(
        found.contains(&"changes_of_old".to_owned()) && !found.contains(&"changes_p20240201".to_owned()),
        "{found:?}"
    );
    // One that comes later still is stored all the same.
    insert_at(&tracker, 3, "2024-02-29 10:00:00+00").await;
    assert_eq!(placed(&mut tracker).await[0].0, "3");
}

#[tokio::test]
async fn a_plain_table_and_a_partitioned_one_are_not_mistaken_for_each_other() {
    for (first, then, needle) in [
        ("off", "30d", "plain table"),
        ("30d", "off", "partitioned by time"),
    ] {
        let mut tracker = Tracker::on(T, &["--retention", first]).await;
        tracker.caught_up().await;
        assert!(tracker.stop().await.success());
        let url = cluster().url(tracker.database(), &[]);
        let (code, _, error) =
            run_to_its_end(tracker.database(), &["--source", &url, "--retention", then]).await;
        assert!(code == Some(1) && error.contains(needle), "{error}");
    }
}
