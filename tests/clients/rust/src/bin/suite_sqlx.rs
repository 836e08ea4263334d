//! sqlx: statements prepared and cached by text, binary format, pools, streams, its own listener.

use std::str::FromStr;
use std::time::Duration;

use bemi_clients::{context, context_of, heading, introduce, variable};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use futures_util::TryStreamExt;
use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgDatabaseError, PgListener, PgPool, PgPoolOptions, PgRow, PgSslMode,
};
use sqlx::types::BigDecimal;
use sqlx::{AssertSqlSafe, Connection, Decode, Encode, Error, Executor, Postgres, Row, Type};
use uuid::Uuid;

type Done = Result<(), Error>;

/// From the environment; the context is a parameter of its own in the startup options.
fn options() -> PgConnectOptions {
    let options = PgConnectOptions::new();
    match context() {
        Some(context) => options.options([("bemi.context", context)]),
        None => options,
    }
}

async fn connect() -> Result<PgConnection, Error> {
    PgConnection::connect_with(&options()).await
}

fn note<T: std::fmt::Debug>(result: Result<T, Error>) {
    match result {
        Ok(value) => println!("{value:?}"),
        Err(Error::Database(error)) => {
            let server: &PgDatabaseError = error.downcast_ref();
            let (code, message, detail) = (server.code(), server.message(), server.detail());
            println!(
                "{code} {message:?} {detail:?} {:?} {:?}",
                server.position(),
                server.constraint()
            );
        }
        Err(error) => println!("{error}"),
    }
}

fn texts(rows: Vec<PgRow>) -> Vec<Option<String>> {
    rows.iter().map(|row| row.get(0)).collect()
}

async fn passwords() -> Done {
    let attempt = async |options: &PgConnectOptions| {
        let connected = PgConnection::connect_with(options).await;
        note(connected.map(drop));
    };
    attempt(&options()).await;
    attempt(&options().password("wrong")).await;
    for root in ["BEMI_ROOT_CERT", "BEMI_WRONG_ROOT_CERT"] {
        let verified = options()
            .ssl_mode(PgSslMode::VerifyFull)
            .ssl_root_cert(variable(root));
        attempt(&verified).await;
        attempt(&verified.password("wrong")).await;
    }
    Ok(())
}

async fn back<'q, T>(connection: &mut PgConnection, kind: &str, value: T) -> Done
where
    T: std::fmt::Debug + Send + Encode<'q, Postgres> + Type<Postgres> + 'q + for<'r> Decode<'r, Postgres>,
{
    let sql = AssertSqlSafe(format!("SELECT $1::{kind}"));
    let row = sqlx::query(sql).bind(value).fetch_one(connection).await?;
    println!("{kind} {:?}", row.get::<T, _>(0));
    Ok(())
}

async fn types() -> Done {
    let connection = &mut connect().await?;
    back(connection, "int2", i16::MIN).await?;
    back(connection, "int4", i32::MAX).await?;
    back(connection, "int8", i64::MIN).await?;
    back(connection, "float4", 1.5_f32).await?;
    back(connection, "float8", f64::NEG_INFINITY).await?;
    let number = BigDecimal::from_str("-12345678901234567890.01234567890").expect("a number");
    back(connection, "numeric", number).await?;
    back(connection, "text", "it's \\ é \u{1f418}".to_owned()).await?;
    back(connection, "bytea", (0..=255).collect::<Vec<u8>>()).await?;
    back(connection, "bool", true).await?;
    back(connection, "date", NaiveDate::from_ymd_opt(2024, 2, 29)).await?;
    back(
        connection,
        "time",
        NaiveTime::from_hms_micro_opt(23, 59, 59, 999_999),
    )
    .await?;
    back(
        connection,
        "timestamptz",
        DateTime::<Utc>::from_timestamp(1_709_208_000, 1000),
    )
    .await?;
    let interval = PgInterval {
        months: 1,
        days: -3,
        microseconds: 7_000_001,
    };
    back(connection, "interval", interval).await?;
    back(connection, "uuid", Uuid::from_u128(7)).await?;
    back(connection, "json", serde_json::json!({"a": [1, null]})).await?;
    back(connection, "jsonb", serde_json::json!({"a": [1, null]})).await?;
    back(connection, "int4[]", vec![Some(1), None, Some(3)]).await?;
    back(connection, "text", None::<String>).await
}

async fn prepared() -> Done {
    let connection = &mut connect().await?;
    for sql in [
        "INSERT INTO todo (task) VALUES ($1) RETURNING length(task)",
        "SELECT length($1)",
    ] {
        let mut total = 0;
        for times in 0..1000 {
            let row = sqlx::query(sql)
                .bind(format!("row {times}"))
                .fetch_one(&mut *connection)
                .await?;
            total += row.get::<i32, _>(0);
        }
        println!("{total} {}", connection.cached_statements_size());
    }
    connection.clear_cached_statements().await?;
    let unnamed = sqlx::query("INSERT INTO todo (task) VALUES ($1) RETURNING task")
        .bind("once")
        .persistent(false);
    note(unnamed.fetch_all(&mut *connection).await.map(texts));
    let left =
        sqlx::query("SELECT count(*)::text FROM pg_prepared_statements WHERE statement LIKE 'INSERT%'");
    note(left.fetch_all(connection).await.map(texts));
    Ok(())
}

async fn insert(connection: &mut PgConnection, task: &str) -> Done {
    sqlx::query("INSERT INTO todo (task) VALUES ($1)")
        .bind(task)
        .execute(connection)
        .await
        .map(drop)
}

async fn transactions() -> Done {
    let mut connection = connect().await?;
    let mut transaction = connection.begin().await?;
    insert(&mut transaction, "kept").await?;
    let mut savepoint = transaction.begin().await?;
    insert(&mut savepoint, "undone").await?;
    note(
        sqlx::query("INSERT INTO todo (id) VALUES ($1)")
            .bind(1)
            .execute(&mut *savepoint)
            .await,
    );
    note(insert(&mut savepoint, "in a failed one").await);
    savepoint.rollback().await?;
    insert(&mut transaction, "kept, too").await?;
    transaction.commit().await?;
    // Dropped: it is rolled back when the connection is used again.
    insert(&mut *connection.begin().await?, "undone").await?;
    let kept = sqlx::query("SELECT task FROM todo WHERE task LIKE 'kept%' OR task = 'undone' ORDER BY id");
    note(kept.fetch_all(&mut connection).await.map(texts));
    let mut transaction = connection.begin_with("BEGIN READ ONLY").await?;
    note(insert(&mut transaction, "read only").await);
    transaction.rollback().await
}

async fn copies() -> Done {
    let mut connection = connect().await?;
    let lines: String = (30_001..35_001).map(|id| format!("{id}\tcopied\n")).collect();
    for _ in 0..2 {
        let mut copy = connection.copy_in_raw("COPY todo (id, task) FROM STDIN").await?;
        copy.send(lines.as_bytes()).await?;
        note(copy.finish().await);
    }
    let copy = connection.copy_in_raw("COPY todo (id, task) FROM STDIN").await?;
    note(copy.abort("given up").await);
    let mut size = 0;
    let mut out = connection
        .copy_out_raw("COPY (SELECT id, task FROM todo WHERE id > 30000 ORDER BY id) TO STDOUT")
        .await?;
    while let Some(block) = out.try_next().await? {
        size += block.len();
    }
    drop(out);
    println!("{size}");
    note(connection.execute("DELETE FROM todo WHERE id > 30000").await);
    Ok(())
}

async fn notifications() -> Done {
    let pool = PgPool::connect_with(options()).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen("changed").await?;
    for task in ["one", "two"] {
        let mut transaction = pool.begin().await?;
        insert(&mut transaction, task).await?;
        sqlx::query("SELECT pg_notify('changed', $1)")
            .bind(task)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        let heard = listener.recv().await?;
        println!("{} {}", heard.channel(), heard.payload());
    }
    // The pool waits for it.
    drop(listener);
    pool.close().await;
    Ok(())
}

async fn errors() -> Done {
    let mut connection = connect().await?;
    for sql in [
        "INSERT INTO todo (id) VALUES (1)",
        "INSERT INTO todo VALUES (9, 'é', mistake)",
        "UPDATE todo SET id = 1 / (id - id)",
        "UPDATE todo SET",
    ] {
        note(connection.execute(sqlx::raw_sql(sql)).await);
        note(sqlx::query(sql).execute(&mut connection).await);
    }
    note(
        connection
            .execute(sqlx::raw_sql("SELECT 1; INSERT INTO todo VALUES (9, mistake)"))
            .await,
    );
    note(
        connection
            .execute(sqlx::raw_sql(
                "INSERT INTO todo (task) VALUES ('a'); UPDATE todo SET done = true",
            ))
            .await,
    );
    note(
        sqlx::query("INSERT INTO todo (id) VALUES ($1)")
            .bind("text")
            .execute(&mut connection)
            .await,
    );
    Ok(())
}

async fn streams() -> Done {
    let mut connection = connect().await?;
    let mut rows = sqlx::query("SELECT n, 'row ' || n FROM generate_series(1, $1) AS n")
        .bind(100_000)
        .fetch(&mut connection);
    let mut sum = 0;
    while let Some(row) = rows.try_next().await? {
        sum += row.get::<i32, _>(0) as usize + row.get::<&str, _>(1).len();
    }
    drop(rows);
    println!("{sum}");
    let writing = "INSERT INTO todo (task) SELECT 'streamed' FROM generate_series(1, 20) RETURNING task";
    note(
        sqlx::query(writing)
            .fetch_all(&mut connection)
            .await
            .map(|rows| rows.len()),
    );
    Ok(())
}

async fn blamed(connection: &mut PgConnection, task: &str, who: Option<i32>) -> Done {
    let insert = sqlx::query("INSERT INTO todo (task, who) VALUES ($1, $2)");
    insert.bind(task).bind(who).execute(connection).await.map(drop)
}

async fn contexts() -> Done {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(options())
        .await?;
    for who in 1..5 {
        let context = context_of(who);
        let mut transaction = pool.begin().await?;
        sqlx::query("SELECT set_config('bemi.context', $1, true)")
            .bind(&context)
            .execute(&mut *transaction)
            .await?;
        blamed(&mut transaction, "set_config", Some(who)).await?;
        transaction.commit().await?;
        let mut transaction = pool.begin().await?;
        transaction
            .execute(AssertSqlSafe(format!("SET LOCAL bemi.context = '{context}'")))
            .await?;
        blamed(&mut transaction, "local", Some(who)).await?;
        transaction.commit().await?;
        let mut connection = pool.acquire().await?;
        blamed(&mut connection, "of the session", None).await?;
        let commented =
            format!("/*Bemi {context} Bemi*/ INSERT INTO todo (task, who) VALUES ('comment', $1)");
        sqlx::query(AssertSqlSafe(commented))
            .bind(who)
            .execute(&mut *connection)
            .await?;
        connection
            .execute(AssertSqlSafe(format!("SET bemi.context = '{context}'")))
            .await?;
        blamed(&mut connection, "set", Some(who)).await?;
        connection.execute("RESET bemi.context").await?;
    }
    tokio::time::timeout(Duration::from_secs(10), pool.close())
        .await
        .expect("the pool closes");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Done {
    let lacks = [
        ("pipeline", "the driver has no pipeline"),
        ("cancel", "the driver cannot cancel a statement"),
    ];
    introduce("sqlx", &lacks);
    heading("connect: passwords in the clear and over tls");
    passwords().await?;
    heading("types: there and back");
    types().await?;
    heading("prepared: one statement a thousand times");
    prepared().await?;
    heading("transaction: commits and savepoints");
    transactions().await?;
    heading("copy: copies in and out");
    copies().await?;
    heading("notify: a listener");
    notifications().await?;
    heading("errors: in both protocols");
    errors().await?;
    heading("stream: rows as they arrive");
    streams().await?;
    heading("context: contexts of requests");
    contexts().await
}
