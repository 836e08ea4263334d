//! What `changes_history`, `changes_as_of` and `changes_diff` answer: tests/track/functions.sql, on one plain table and on one
//! that is partitioned by time, in a schema of any name. And docs/changes.md shows no query that does not run.

mod support;

use tokio_postgres::Client;

const CHANGES: &str = include_str!("../src/track/schema/changes.sql");
const FUNCTIONS: &str = include_str!("../src/track/schema/functions.sql");
const CASES: &str = include_str!("track/functions.sql");
const FIXTURE: &str = include_str!("track/story.sql");
const DOCUMENTATION: &str = include_str!("../docs/changes.md");

const DEFAULT_PARTITION: &str = "CREATE TABLE @schema@.changes_default PARTITION OF @schema@.changes DEFAULT";

/// What the placeholders of the scripts stand for.
struct Placeholders {
    schema: &'static str,
    primary_key: &'static str,
    partitioning: &'static str,
}

const PLAIN: Placeholders = Placeholders {
    schema: "public",
    primary_key: "id",
    partitioning: "",
};

const PARTITIONED: Placeholders = Placeholders {
    schema: r#""Audit ""log""#,
    primary_key: "id, committed_at",
    partitioning: "PARTITION BY RANGE (committed_at)",
};

#[tokio::test]
async fn the_functions_answer_on_one_plain_table() {
    let client = connect().await;
    run(&client, &PLAIN, &[CHANGES, FUNCTIONS, CASES]).await;
}

#[tokio::test]
async fn the_functions_answer_on_a_partitioned_table_in_a_schema_of_any_name() {
    let client = connect().await;
    let scripts = [
        "CREATE SCHEMA @schema@",
        CHANGES,
        DEFAULT_PARTITION,
        FUNCTIONS,
        CASES,
    ];
    run(&client, &PARTITIONED, &scripts).await;
}

#[tokio::test]
async fn the_queries_of_the_documentation_run() {
    let client = connect().await;
    let todo = "CREATE TABLE todo (id int, task text, done boolean)";
    run(&client, &PLAIN, &[todo, CHANGES, FUNCTIONS, FIXTURE]).await;
    let blocks = DOCUMENTATION.split("```sql\n").skip(1);
    let queries: Vec<_> = blocks.filter_map(|rest| rest.split("```").next()).collect();
    assert!(queries.len() >= 10, "{queries:?}");
    run(&client, &PLAIN, &queries).await;
}

async fn connect() -> Client {
    let cluster = support::cluster();
    let database = support::database(cluster).await;
    support::connect(cluster.port(), &database).await
}

async fn run(client: &Client, placeholders: &Placeholders, scripts: &[&str]) {
    for script in scripts {
        let script = script
            .replace("@schema@", placeholders.schema)
            .replace("@primary_key@", placeholders.primary_key)
            .replace("@partitioning@", placeholders.partitioning);
        if let Err(error) = client.batch_execute(&script).await {
            // In functions.sql the message names the case.
            let what = error.as_db_error().map_or(error.to_string(), ToString::to_string);
            let begin: String = script.chars().take(200).collect();
            panic!("{what}\n   in: {begin}");
        }
    }
}
