//! tokio-postgres: binary format, statements prepared unasked, pipelining by polling several futures at once.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bemi_clients::{context_of, heading, introduce, options, variable};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use futures_util::{SinkExt, TryStreamExt, future, pin_mut};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::mpsc;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, Row, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

const ASLEEP: &str =
    "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";

type Done = Result<(), Error>;

fn config() -> Config {
    let mut config = Config::new();
    config
        .host(variable("PGHOST"))
        .port(variable("PGPORT").parse().expect("a port"))
        .user(variable("PGUSER"))
        .password(variable("PGPASSWORD"))
        .dbname(variable("PGDATABASE"))
        .options(options());
    config
}

async fn connect() -> Result<(Client, mpsc::UnboundedReceiver<AsyncMessage>), Error> {
    let (client, mut connection) = config().connect(NoTls).await?;
    let (sender, messages) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = future::poll_fn(|context| connection.poll_message(context)).await {
            // A scenario may not listen.
            let _ = sender.send(message);
        }
    });
    Ok((client, messages))
}

fn tls(root: &str) -> MakeRustlsConnect {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(variable(root)).expect("PEM"))
        .expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    MakeRustlsConnect::new(config)
}

fn note<T>(result: Result<T, Error>)
where
    T: std::fmt::Debug,
{
    match result {
        Ok(value) => println!("{value:?}"),
        Err(error) => match error.as_db_error() {
            Some(server) => println!(
                "{} {:?} {:?} {:?} {:?}",
                server.code().code(),
                server.message(),
                server.detail(),
                server.position(),
                server.constraint()
            ),
            None => println!("{error} {:?}", error.source().map(ToString::to_string)),
        },
    }
}

fn texts(rows: Vec<Row>) -> Vec<Option<String>> {
    rows.iter().map(|row| row.get(0)).collect()
}

async fn passwords() -> Done {
    let mut wrong = config();
    wrong.password("wrong");
    note(config().connect(NoTls).await.map(drop));
    note(wrong.connect(NoTls).await.map(drop));
    for root in ["BEMI_ROOT_CERT", "BEMI_WRONG_ROOT_CERT"] {
        for config in [&mut config(), &mut wrong] {
            note(
                config
                    .ssl_mode(SslMode::Require)
                    .connect(tls(root))
                    .await
                    .map(drop),
            );
        }
    }
    Ok(())
}

async fn types() -> Done {
    let (client, _messages) = connect().await?;
    async fn back<T>(client: &Client, kind: &str, value: T) -> Done
    where
        T: ToSql + Sync + std::fmt::Debug + for<'a> tokio_postgres::types::FromSql<'a>,
    {
        let row = client.query_one(&format!("SELECT $1::{kind}"), &[&value]).await?;
        println!("{kind} {:?}", row.get::<_, T>(0));
        Ok(())
    }
    back(&client, "int2", i16::MIN).await?;
    back(&client, "int4", i32::MAX).await?;
    back(&client, "int8", i64::MIN).await?;
    back(&client, "float4", 1.5_f32).await?;
    back(&client, "float8", f64::NEG_INFINITY).await?;
    back(&client, "text", "it's \\ é \u{1f418}".to_owned()).await?;
    back(&client, "bytea", (0..=255).collect::<Vec<u8>>()).await?;
    back(&client, "bool", true).await?;
    back(&client, "date", NaiveDate::from_ymd_opt(2024, 2, 29)).await?;
    back(
        &client,
        "time",
        NaiveTime::from_hms_micro_opt(23, 59, 59, 999_999),
    )
    .await?;
    back(
        &client,
        "timestamptz",
        DateTime::<Utc>::from_timestamp(1_709_208_000, 1000),
    )
    .await?;
    back(
        &client,
        "timestamptz",
        SystemTime::UNIX_EPOCH + Duration::from_secs(7),
    )
    .await?;
    back(&client, "uuid", Uuid::from_u128(7)).await?;
    back(&client, "json", serde_json::json!({"a": [1, null]})).await?;
    back(&client, "jsonb", serde_json::json!({"a": [1, null]})).await?;
    back(&client, "int4[]", vec![Some(1), None, Some(3)]).await?;
    back(&client, "text", None::<String>).await?;
    // It has no types of its own for these two.
    for (kind, value) in [
        ("numeric", "-12345678901234567890.01234567890"),
        ("interval", "-3 days 7 seconds"),
    ] {
        let sql = format!("SELECT $1::text::{kind}::text");
        println!("{kind} {:?}", texts(client.query(&sql, &[&value]).await?));
    }
    client
        .batch_execute("CREATE TYPE mood AS ENUM ('calm', 'busy'); CREATE TABLE moods (mood mood)")
        .await?;
    let inserted = client
        .query(
            "INSERT INTO moods VALUES ($1::text::mood) RETURNING mood",
            &[&"busy"],
        )
        .await?;
    println!("{:?}", inserted[0].columns()[0].type_().kind());
    Ok(())
}

async fn prepared() -> Done {
    let (client, _messages) = connect().await?;
    for sql in [
        "INSERT INTO todo (task) VALUES ($1) RETURNING length(task)",
        "SELECT length($1)",
    ] {
        let statement = client.prepare_typed(sql, &[Type::TEXT]).await?;
        let mut total = 0;
        for times in 0..1000 {
            let row = client.query_one(&statement, &[&format!("row {times}")]).await?;
            total += row.get::<_, i32>(0);
        }
        println!("{total} {:?}", statement.columns());
    }
    let typed = client.query_typed(
        "INSERT INTO todo (task) VALUES ($1) RETURNING task",
        &[(&"typed", Type::TEXT)],
    );
    note(typed.await.map(texts));
    Ok(())
}

async fn transactions() -> Done {
    let (mut client, _messages) = connect().await?;
    let mut transaction = client.transaction().await?;
    transaction
        .execute("INSERT INTO todo (task) VALUES ($1)", &[&"kept"])
        .await?;
    let savepoint = transaction.savepoint("one").await?;
    savepoint
        .execute("INSERT INTO todo (task) VALUES ($1)", &[&"undone"])
        .await?;
    note(
        savepoint
            .execute("INSERT INTO todo (id) VALUES ($1)", &[&1])
            .await,
    );
    note(
        savepoint
            .execute("INSERT INTO todo (id) VALUES ($1)", &[&2])
            .await,
    );
    savepoint.rollback().await?;
    transaction
        .execute("INSERT INTO todo (task) VALUES ($1)", &[&"kept, too"])
        .await?;
    transaction.commit().await?;
    let transaction = client.build_transaction().read_only(true).start().await?;
    note(
        transaction
            .execute("UPDATE todo SET task = $1", &[&"undone"])
            .await,
    );
    transaction.rollback().await?;
    let dropped = client.transaction().await?;
    dropped.execute("UPDATE todo SET task = $1", &[&"undone"]).await?;
    drop(dropped);
    note(
        client
            .query("SELECT task FROM todo WHERE task LIKE 'kept%' ORDER BY id", &[])
            .await
            .map(texts),
    );
    Ok(())
}

async fn pipelines() -> Done {
    let (client, _messages) = connect().await?;
    let statement = client
        .prepare("INSERT INTO todo (id, task) VALUES ($1, 'piped') RETURNING task")
        .await?;
    let ids = [20_001, 20_002, 20_001, 20_003];
    let (client, statement) = (&client, &statement);
    let writes = ids.map(|id| async move { client.query(statement, &[&id]).await });
    for result in future::join_all(writes).await {
        note(result.map(texts));
    }
    let reads = (0..50).map(|number| async move { client.query_one("SELECT $1::int4", &[&number]).await });
    let read = future::try_join_all(reads).await?;
    println!("{}", read.iter().map(|row| row.get::<_, i32>(0)).sum::<i32>());
    note(client.execute("DELETE FROM todo WHERE id > 20000", &[]).await);
    Ok(())
}

async fn copies() -> Done {
    let (client, _messages) = connect().await?;
    for _ in 0..2 {
        let sink = client.copy_in("COPY todo (id, task) FROM STDIN").await?;
        pin_mut!(sink);
        let lines = (30_001..35_001).map(|id| Ok(bytes::Bytes::from(format!("{id}\tcopied\n"))));
        sink.send_all(&mut futures_util::stream::iter(lines))
            .await
            .unwrap_or(());
        note(sink.finish().await);
    }
    // Dropped before its end, it is taken back.
    drop(
        client
            .copy_in::<_, bytes::Bytes>("COPY todo (id, task) FROM STDIN")
            .await?,
    );
    let out = client
        .copy_out("COPY (SELECT id, task FROM todo WHERE id > 30000 ORDER BY id) TO STDOUT")
        .await?;
    println!(
        "{:?}",
        out.try_fold(0, |sum, bytes| future::ok(sum + bytes.len()))
            .await
            .ok()
    );
    note(client.execute("DELETE FROM todo WHERE id > 30000", &[]).await);
    Ok(())
}

async fn notifications() -> Done {
    let (client, mut messages) = connect().await?;
    client
        .batch_execute("LISTEN changed; DO $$ BEGIN RAISE WARNING 'careful'; END $$")
        .await?;
    client
        .batch_execute("INSERT INTO todo (task) VALUES ('x'); NOTIFY changed, 'one'")
        .await?;
    for _ in 0..2 {
        match messages.recv().await {
            Some(AsyncMessage::Notification(heard)) => println!("{} {}", heard.channel(), heard.payload()),
            Some(AsyncMessage::Notice(notice)) => println!("{notice}"),
            other => println!("{}", other.is_some()),
        }
    }
    Ok(())
}

async fn cancelling() -> Done {
    let (client, _messages) = connect().await?;
    let token = client.cancel_token();
    let soon = async {
        // What is cancelled before it sleeps goes on.
        let (other, _messages) = connect().await?;
        while other.query(ASLEEP, &[]).await?.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        token.cancel_query(NoTls).await
    };
    let (written, cancelled) = tokio::join!(
        client.execute("INSERT INTO todo (task) SELECT pg_sleep($1)::text", &[&60.0]),
        soon
    );
    note(written);
    note(cancelled);
    note(
        client
            .execute("INSERT INTO todo (task) VALUES ($1)", &[&"after"])
            .await,
    );
    Ok(())
}

async fn errors() -> Done {
    let (client, _messages) = connect().await?;
    for sql in [
        "INSERT INTO todo (id) VALUES (1)",
        "INSERT INTO todo VALUES (9, 'é', mistake)",
        "UPDATE todo SET id = 1 / (id - id)",
        "UPDATE todo SET",
    ] {
        note(client.batch_execute(sql).await);
        note(client.execute(sql, &[]).await);
    }
    note(
        client
            .batch_execute("SELECT 1; INSERT INTO todo VALUES (9, mistake)")
            .await,
    );
    let messages = client
        .simple_query("INSERT INTO todo (task) VALUES ('a'); SELECT id FROM todo WHERE id = 1")
        .await?;
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => println!("{:?}", row.get(0)),
            SimpleQueryMessage::CommandComplete(rows) => println!("{rows}"),
            _ => println!("columns"),
        }
    }
    Ok(())
}

async fn streams() -> Done {
    let (mut client, _messages) = connect().await?;
    let none: [&str; 0] = [];
    let rows = client
        .query_raw("SELECT n, 'row ' || n FROM generate_series(1, 100000) AS n", none)
        .await?;
    let sum = |sum: i64, row: Row| {
        future::ok(sum + i64::from(row.get::<_, i32>(0)) + row.get::<_, &str>(1).len() as i64)
    };
    note(rows.try_fold(0, sum).await);
    let transaction = client.transaction().await?;
    let portal = transaction
        .bind("SELECT n, 'row ' || n FROM generate_series(1, 12) AS n", &[])
        .await?;
    for _ in 0..3 {
        note(transaction.query_portal(&portal, 5).await.map(|rows| rows.len()));
    }
    let writing = "INSERT INTO todo (task) SELECT 'portal' FROM generate_series(1, 5) RETURNING id";
    let portal = transaction.bind(writing, &[]).await?;
    for _ in 0..2 {
        note(transaction.query_portal(&portal, 3).await.map(|rows| rows.len()));
    }
    transaction.commit().await
}

async fn contexts() -> Done {
    let (mut client, _messages) = connect().await?;
    let insert = client
        .prepare("INSERT INTO todo (task, who) VALUES ($1, $2)")
        .await?;
    let set_config = client
        .prepare("SELECT set_config('bemi.context', $1, false)")
        .await?;
    for who in 1..5 {
        let context = context_of(who);
        let transaction = client.transaction().await?;
        transaction
            .execute("SELECT set_config('bemi.context', $1, true)", &[&context])
            .await?;
        transaction.execute(&insert, &[&"set_config", &who]).await?;
        transaction.commit().await?;
        let transaction = client.transaction().await?;
        transaction
            .batch_execute(&format!("SET LOCAL bemi.context = '{context}'"))
            .await?;
        transaction.execute(&insert, &[&"local", &who]).await?;
        transaction.commit().await?;
        client
            .execute(&insert, &[&"of the session", &None::<i32>])
            .await?;
        let commented = format!("/*Bemi {context} Bemi*/ INSERT INTO todo (task, who) VALUES ($1, $2)");
        client.execute(&commented, &[&"comment", &who]).await?;
        client
            .batch_execute(&format!("SET bemi.context = '{context}'"))
            .await?;
        client.execute(&insert, &[&"set", &who]).await?;
        // In one pipeline: neither has to be prepared first.
        let (set, put) = future::join(
            client.query(&set_config, &[&context_of(9)]),
            client.execute(&insert, &[&"piped", &9]),
        )
        .await;
        println!("{:?} {:?}", set.map(texts).ok(), put.ok());
        client.batch_execute("RESET bemi.context").await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Done {
    introduce("tokio-postgres", &[]);
    heading("connect: passwords in the clear and over tls");
    passwords().await?;
    heading("types: there and back");
    types().await?;
    heading("prepared: one statement a thousand times");
    prepared().await?;
    heading("transaction: commits and savepoints");
    transactions().await?;
    heading("pipeline: many futures at once");
    pipelines().await?;
    heading("copy: copies in and out");
    copies().await?;
    heading("notify: notifications and notices");
    notifications().await?;
    heading("cancel: a token");
    cancelling().await?;
    heading("errors: in both protocols");
    errors().await?;
    heading("stream: rows and portals");
    streams().await?;
    heading("context: contexts of requests");
    contexts().await
}
