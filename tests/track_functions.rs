//! What `changes_history`, `changes_as_of` and `changes_diff` answer: tests/track/functions.sql, on one plain table and on one
//! that is partitioned by time, in a schema of any name.

mod support;

const CHANGES: &str = include_str!("../src/track/schema/changes.sql");
const FUNCTIONS: &str = include_str!("../src/track/schema/functions.sql");
const CASES: &str = include_str!("track/functions.sql");

#[tokio::test]
async fn the_functions_answer_on_one_plain_table() {
    run("public", "id", "", "").await;
}

#[tokio::test]
async fn the_functions_answer_on_a_partitioned_table_in_a_schema_of_any_name() {
    run(
        r#""Audit ""log""#,
        "id, committed_at",
        "PARTITION BY RANGE (committed_at)",
        "CREATE TABLE @schema@.changes_default PARTITION OF @schema@.changes DEFAULT",
    )
    .await;
}

async fn run(schema: &str, primary_key: &str, partitioning: &str, partition: &str) {
    let cluster = support::cluster();
    let database = support::database(cluster).await;
    let client = support::connect(cluster.port(), &database).await;
    let create_schema = "CREATE SCHEMA IF NOT EXISTS @schema@";
    for script in [create_schema, CHANGES, FUNCTIONS, partition, CASES] {
        let script = script
            .replace("@schema@", schema)
            .replace("@primary_key@", primary_key)
            .replace("@partitioning@", partitioning);
        if let Err(error) = client.batch_execute(&script).await {
            // The first line names the case; the rest is where in the script.
            panic!(
                "{}",
                error
                    .as_db_error()
                    .map_or(error.to_string(), |error| error.message().to_owned())
            );
        }
    }
}
