//! The table of the documentation, made by an application: three todos, of which one is completed and one deleted.

use std::time::{Duration, Instant};

use bemi::demo::cluster::Cluster;
use tokio_postgres::{Client, Row};

use crate::app::App;
use crate::support::{self, track_process::TrackProcess};
use crate::visitors::Visitor;

const QUESTION: &str = r#"
    SELECT primary_key, operation, before ->> 'task', before ->> 'done', after ->> 'task', after ->> 'done',
           context ->> 'user_id', context ->> 'method', context ->> 'endpoint'
      FROM changes WHERE "table" = 'todo' AND context @> '{"user_id": "187234"}' ORDER BY committed_at, id"#;

const ANSWER: &str = "\
1  CREATE  -            Sleep false   187234  POST /todos
2  CREATE  -            Eat false     187234  POST /todos
3  CREATE  -            Repeat false  187234  POST /todos
1  UPDATE  Sleep false  Sleep true    187234  PATCH /todos/1
2  DELETE  Eat false    -             187234  DELETE /todos/2
";

/// Tells it, and returns the table.
pub async fn tell(app: &App, cluster: &Cluster, proxy: u16) -> Result<String, String> {
    let database = crate::database(cluster).await;
    let client = support::connect(cluster.port(), &database).await;
    // The slot's name is the server's.
    let tracker = TrackProcess::on(cluster, &database, &["--slot", &database]);
    let active = format!("SELECT 1 FROM pg_replication_slots WHERE slot_name = '{database}' AND active");
    rows(&client, &active, 1, &tracker).await?;

    let running = app.start(proxy, &database).await?;
    let mut visitor = Visitor::new(app.api, running.port(), Some(187_234));
    let sleep = visitor.create("Sleep").await?;
    let eat = visitor.create("Eat").await?;
    visitor.create("Repeat").await?;
    visitor.complete(sleep, "Sleep").await?;
    visitor.delete(eat, "Eat").await?;

    let found: String = rows(&client, QUESTION, 5, &tracker)
        .await?
        .iter()
        .map(line)
        .collect();
    if found == ANSWER {
        Ok(format!("\n{found}"))
    } else {
        Err(found)
    }
}

/// Waits until there are so many.
async fn rows(
    client: &Client,
    query: &str,
    count: usize,
    tracker: &TrackProcess,
) -> Result<Vec<Row>, String> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        // The table may not be there yet.
        let rows = client.query(query, &[]).await.unwrap_or_default();
        if rows.len() >= count {
            return Ok(rows);
        }
        if Instant::now() > deadline {
            return Err(format!("bemi track takes too long:\n{}", tracker.log()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn line(row: &Row) -> String {
    let column = |index: usize| row.get::<_, Option<&str>>(index).unwrap_or_default();
    let state = |index: usize| match row.get::<_, Option<&str>>(index) {
        Some(task) => format!("{task} {}", column(index + 1)),
        None => "-".to_owned(),
    };
    format!(
        "{}  {}  {:<11}  {:<12}  {}  {} {}\n",
        column(0),
        column(1),
        state(2),
        state(4),
        column(6),
        column(7),
        column(8)
    )
}
