//! Partitioned tables on the source.

use std::time::Duration;

use bemi::demo::cluster::{Cluster, ClusterOptions};

use crate::support;
use crate::tracker::{Tracker, is_at_least, outlines};

const EVENTS: &str = "
    CREATE TABLE events (id int, region text, x int, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
    CREATE TABLE events_eu PARTITION OF events FOR VALUES IN ('eu');
    CREATE TABLE events_us (x int, region text NOT NULL, id int NOT NULL, gone int, PRIMARY KEY (region, id));
    ALTER TABLE events_us DROP gone;
    ALTER TABLE events ATTACH PARTITION events_us FOR VALUES IN ('us');
    CREATE TABLE events_other PARTITION OF events DEFAULT PARTITION BY HASH (id);
    CREATE TABLE events_other_0 PARTITION OF events_other FOR VALUES WITH (MODULUS 1, REMAINDER 0)";

const WRITES: &str = "
    INSERT INTO events VALUES (1, 'eu', 0), (2, 'us', 0), (3, 'jp', 0);
    UPDATE events SET x = 1 WHERE id = 2; UPDATE events SET region = 'us' WHERE id = 1; DELETE FROM events WHERE id = 3";

#[tokio::test]
async fn changes_of_partitions_are_their_own() {
    let mut tracker = Tracker::on(EVENTS, &[]).await;
    tracker.run(WRITES).await;
    assert!(tracker.changes("events").await.is_empty());
    // A row that moves to another partition is deleted in one and made in the other.
    assert_eq!(
        outlines(&tracker.stored("events_eu").await),
        [r#"CREATE ["eu",1]"#, r#"DELETE ["eu",1]"#]
    );
    let us = tracker.stored("events_us").await;
    assert_eq!(
        outlines(&us),
        [r#"CREATE ["us",2]"#, r#"UPDATE ["us",2]"#, r#"CREATE ["us",1]"#]
    );
    assert_eq!(us[1].after, serde_json::json!({"x": 1, "region": "us", "id": 2}));
    assert_eq!(
        outlines(&tracker.stored("events_other_0").await),
        [r#"CREATE ["jp",3]"#, r#"DELETE ["jp",3]"#]
    );
    tracker.run("TRUNCATE events_eu; TRUNCATE events").await;
    assert_eq!(
        outlines(&tracker.changes("events_eu").await)[2..],
        ["TRUNCATE", "TRUNCATE"]
    );
    assert_eq!(outlines(&tracker.stored("events_us").await)[3..], ["TRUNCATE"]);
}

#[tokio::test]
async fn changes_of_partitions_are_those_of_the_whole_where_that_is_asked_for() {
    let mut tracker = Tracker::on(EVENTS, &["--set", "track.partitions_via_root=true"]).await;
    tracker.run(WRITES).await;
    let changes = tracker.changes("events").await;
    assert_eq!(
        outlines(&changes),
        [
            r#"CREATE ["eu",1]"#,
            r#"CREATE ["us",2]"#,
            r#"CREATE ["jp",3]"#,
            r#"UPDATE ["us",2]"#,
            r#"DELETE ["eu",1]"#,
            r#"CREATE ["us",1]"#,
            r#"DELETE ["jp",3]"#,
        ]
    );
    assert_eq!(
        changes[3].after,
        serde_json::json!({"id": 2, "region": "us", "x": 1})
    );
    for partition in ["events_eu", "events_us", "events_other", "events_other_0"] {
        assert!(tracker.stored(partition).await.is_empty(), "{partition}");
    }
    tracker.run("TRUNCATE events_eu; TRUNCATE events").await;
    assert_eq!(outlines(&tracker.changes("events").await)[7..], ["TRUNCATE"]);
}

#[tokio::test]
async fn partitions_come_and_go_in_the_middle_of_the_stream() {
    // Version 14 goes on naming an attached partition by itself until its walsender starts anew.
    let both = [false, true];
    for via_root in both.into_iter().take(if is_at_least(15) { 2 } else { 1 }) {
        let arguments = ["--set", &format!("track.partitions_via_root={via_root}")];
        let mut tracker = Tracker::on(EVENTS, &arguments).await;
        for statement in [
            "ALTER TABLE events DETACH PARTITION events_eu",
            "INSERT INTO events_eu VALUES (5, 'eu', 0)",
            "ALTER TABLE events ATTACH PARTITION events_eu FOR VALUES IN ('eu')",
            "INSERT INTO events VALUES (6, 'eu', 0)",
            "CREATE TABLE events_cn PARTITION OF events FOR VALUES IN ('cn')",
            "INSERT INTO events VALUES (7, 'cn', 0)",
            "DROP TABLE events_cn",
        ] {
            tracker.run(statement).await;
            tracker.caught_up().await;
        }
        let whole = outlines(&tracker.changes("events").await);
        let eu = outlines(&tracker.stored("events_eu").await);
        let cn = outlines(&tracker.stored("events_cn").await);
        if via_root {
            assert_eq!(whole, [r#"CREATE ["eu",6]"#, r#"CREATE ["cn",7]"#]);
            assert_eq!(eu, [r#"CREATE ["eu",5]"#]);
        } else {
            assert_eq!((whole.len(), cn), (0, vec![r#"CREATE ["cn",7]"#.to_owned()]));
            assert_eq!(eu, [r#"CREATE ["eu",5]"#, r#"CREATE ["eu",6]"#]);
        }
    }
}

#[tokio::test]
async fn a_pattern_may_name_the_whole_or_a_part() {
    for (exclude, via_root, kept) in [
        ("events", false, [0, 0, 0]),
        ("public.events", true, [0, 0, 0]),
        ("events_us", false, [0, 1, 0]),
        ("events_us", true, [3, 0, 0]),
        ("other.events", false, [0, 1, 1]),
    ] {
        let via_root = format!("track.partitions_via_root={via_root}");
        let mut tracker = Tracker::on(EVENTS, &["--exclude", exclude, "--set", &via_root]).await;
        tracker
            .run("INSERT INTO events VALUES (1, 'eu', 0), (2, 'us', 0), (3, 'jp', 0)")
            .await;
        tracker.caught_up().await;
        let mut found = [0; 3];
        for (count, table) in found.iter_mut().zip(["events", "events_eu", "events_us"]) {
            *count = tracker.stored(table).await.len();
        }
        assert_eq!(found, kept, "{exclude} {via_root}");
    }
}

#[tokio::test]
async fn a_list_of_tables_may_name_a_partitioned_one() {
    let mut tracker = Tracker::on(EVENTS, &["--tables", "events", "--tables", "sentinel"]).await;
    tracker.run(WRITES).await;
    assert_eq!(tracker.changes("events_us").await.len(), 3);
    tracker.run("CREATE TABLE events_cn PARTITION OF events FOR VALUES IN ('cn'); INSERT INTO events VALUES (7, 'cn', 0)").await;
    assert_eq!(
        outlines(&tracker.changes("events_cn").await),
        [r#"CREATE ["cn",7]"#]
    );
}

#[tokio::test]
async fn inherited_tables_are_tables_of_their_own() {
    let mut tracker = Tracker::on(
        "CREATE TABLE base (id int PRIMARY KEY); CREATE TABLE derived (x int, PRIMARY KEY (id)) INHERITS (base)",
        &[],
    )
    .await;
    tracker
        .run("INSERT INTO base VALUES (1); INSERT INTO derived VALUES (2, 2); UPDATE base SET id = id + 10")
        .await;
    assert_eq!(
        outlines(&tracker.changes("base").await),
        ["CREATE 1", "UPDATE 1 11"]
    );
    assert_eq!(
        outlines(&tracker.stored("derived").await),
        ["CREATE 2", "UPDATE 2 12"]
    );
}

/// The log is sent before others see what was committed; here for as long as no standby confirms it.
#[tokio::test]
async fn the_catalog_is_asked_once_it_shows_what_was_committed() {
    let server = tokio::task::spawn_blocking(|| Cluster::start(&ClusterOptions::default()));
    let server = server.await.expect("no panic").expect("a server");
    let connect = || support::connect(server.port(), "postgres");
    let (source, destination, writer) = (connect().await, connect().await, connect().await);
    source.batch_execute(EVENTS).await.expect("tables");
    let url = server.url("postgres", &[]);
    let arguments = ["--source", &*url, "--tables", "events,sentinel"];
    let mut tracker = Tracker::between(source, destination, "bemi", "public", &arguments).await;
    tracker.caught_up().await;
    server
        .set("synchronous_standby_names", "nobody")
        .expect("a setting");
    let is_set = "SELECT 1 / (current_setting('synchronous_standby_names') = 'nobody')::int";
    while writer.batch_execute(is_set).await.is_err() {}
    let writing = tokio::spawn(async move {
        let sql = "CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE events_cn PARTITION OF events FOR VALUES IN ('cn');
                   ALTER TABLE events_cn REPLICA IDENTITY FULL; ALTER TABLE events ADD moods mood[];
                   INSERT INTO events VALUES (7, 'cn', 0, '{ok}')";
        writer.batch_execute(sql).await.expect("committed in the end");
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.set("synchronous_standby_names", "").expect("a setting");
    writing.await.expect("no panic");
    let changes = tracker.changes("events_cn").await;
    assert_eq!(outlines(&changes), [r#"CREATE ["cn",7]"#]);
    assert_eq!(changes[0].after["moods"], serde_json::json!(["ok"]));
}
