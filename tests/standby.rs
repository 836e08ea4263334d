//! On a hot standby a client's write fails with the server's own error, not with ours.

mod support;

use bemi::demo::cluster::{Cluster, ClusterOptions};
use support::proxy;

#[tokio::test]
async fn a_write_on_a_hot_standby_fails_as_without_a_proxy() {
    let mut cluster = Cluster::start(&ClusterOptions::default()).expect("a server");
    let primary = support::connect(cluster.port(), "postgres").await;
    primary
        .batch_execute("CREATE TABLE todo (id int)")
        .await
        .expect("a table");
    drop(primary);
    cluster
        .write_file("standby.signal", "")
        .expect("the file that makes it a standby");
    cluster.restart().expect("a standby");

    let direct = support::connect(cluster.port(), "postgres").await;
    let proxy = proxy::start(&cluster).await;
    let client = support::connect(proxy.port(), "postgres").await;
    client
        .batch_execute(r#"SET bemi.context = '{"user_id": 1}'"#)
        .await
        .expect("a standby takes settings");
    let sql = "INSERT INTO todo VALUES (1)";
    let shown = |error: tokio_postgres::Error| {
        let error = error.as_db_error().expect("an error of the server").clone();
        (error.code().code().to_owned(), error.message().to_owned())
    };
    let expected = shown(direct.batch_execute(sql).await.expect_err("read only"));
    assert_eq!(expected.0, "25006");
    assert_eq!(
        shown(client.batch_execute(sql).await.expect_err("read only")),
        expected
    );
    assert_eq!(
        shown(client.execute(sql, &[]).await.expect_err("read only")),
        expected
    );
    let rows = client
        .query("SELECT count(*) FROM todo", &[])
        .await
        .expect("reads go on");
    assert_eq!(rows[0].get::<_, i64>(0), 0);
}
