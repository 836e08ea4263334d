//! Diesel: a query builder over libpq, with its own cache of prepared statements and nested transactions.

use bemi_clients::{context_of, heading, introduce, options, variable};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use diesel::connection::{DefaultLoadingMode, SimpleConnection};
use diesel::data_types::PgInterval;
use diesel::pg::PgRowByRowLoadingMode;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::{
    Array, BigInt, Binary, Bool, Date, Double, Float, Integer, Interval, Json, Jsonb, Nullable, SmallInt,
    Text, Time, Timestamptz, Uuid,
};
use diesel::{PgConnection, insert_into, sql_query, update};

diesel::table! {
    todo (id) {
        id -> Integer,
        task -> Nullable<Text>,
        done -> Nullable<Bool>,
        who -> Nullable<Integer>,
    }
}

diesel::define_sql_function! {
    /// The server's own.
    fn set_config(name: Text, value: Text, local: Bool) -> Text;
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = Integer)]
    n: i32,
    #[diesel(sql_type = Text)]
    t: String,
}

type Done = Result<(), Error>;

fn attempt(how: &str) -> ConnectionResult<PgConnection> {
    // From the environment, but for this.
    PgConnection::establish(&format!("options='{}' {how}", options()))
}

fn connect() -> PgConnection {
    attempt("").expect("a connection")
}

fn note<T: std::fmt::Debug>(result: QueryResult<T>) {
    match result {
        Ok(value) => println!("{value:?}"),
        Err(Error::DatabaseError(kind, server)) => {
            let kind: DatabaseErrorKind = kind;
            let (message, detail, position) =
                (server.message(), server.details(), server.statement_position());
            println!(
                "{kind:?} {message:?} {detail:?} {position:?} {:?}",
                server.constraint_name()
            );
        }
        Err(error) => println!("{error:?}"),
    }
}

fn passwords() -> Done {
    let (root, wrong) = (variable("BEMI_ROOT_CERT"), variable("BEMI_WRONG_ROOT_CERT"));
    let verified = format!("sslmode=verify-full sslrootcert={root}");
    for how in [
        "",
        "password=wrong",
        &verified,
        &format!("{verified} channel_binding=require"),
        &format!("{verified} password=wrong"),
        &format!("sslmode=verify-full sslrootcert={wrong}"),
    ] {
        match attempt(how) {
            Ok(_) => println!("in"),
            Err(error) => println!("{error}"),
        }
    }
    Ok(())
}

macro_rules! back {
    ($connection:expr, $kind:ty, $type:ty, $value:expr) => {{
        let found: $type = diesel::select($value.into_sql::<$kind>()).get_result($connection)?;
        println!("{} {found:?}", stringify!($kind));
    }};
}

fn types() -> Done {
    let connection = &mut connect();
    back!(connection, SmallInt, i16, i16::MIN);
    back!(connection, Integer, i32, i32::MAX);
    back!(connection, BigInt, i64, i64::MIN);
    back!(connection, Float, f32, 1.5_f32);
    back!(connection, Double, f64, f64::NEG_INFINITY);
    back!(connection, Text, String, "it's \\ é \u{1f418}");
    back!(connection, Binary, Vec<u8>, (0..=255).collect::<Vec<u8>>());
    back!(connection, Bool, bool, true);
    back!(
        connection,
        Date,
        NaiveDate,
        NaiveDate::from_ymd_opt(2024, 2, 29).expect("a day")
    );
    back!(
        connection,
        Time,
        NaiveTime,
        NaiveTime::from_hms_opt(23, 59, 59).expect("a time")
    );
    back!(
        connection,
        Timestamptz,
        DateTime<Utc>,
        DateTime::<Utc>::from_timestamp(1_709_208_000, 0).expect("a time")
    );
    back!(
        connection,
        Interval,
        PgInterval,
        PgInterval::new(7_000_001, -3, 1)
    );
    back!(connection, Uuid, uuid::Uuid, uuid::Uuid::from_u128(7));
    back!(
        connection,
        Json,
        serde_json::Value,
        serde_json::json!({"a": [1, null]})
    );
    back!(
        connection,
        Jsonb,
        serde_json::Value,
        serde_json::json!({"a": [1, null]})
    );
    back!(
        connection,
        Array<Nullable<Integer>>,
        Vec<Option<i32>>,
        vec![Some(1), None, Some(3)]
    );
    back!(connection, Nullable<Text>, Option<String>, None::<String>);
    let number = sql_query("SELECT 1 AS n, ($1::text::numeric * 2)::text AS t")
        .bind::<Text, _>("-12345678901234567890.01");
    println!("{}", number.get_result::<Counted>(connection)?.t);
    Ok(())
}

fn prepared() -> Done {
    let connection = &mut connect();
    let (mut written, mut read) = (0, 0);
    for times in 0..1000 {
        let new = (todo::id.eq(40_000 + times), todo::task.eq(format!("row {times}")));
        let task: Option<String> = insert_into(todo::table)
            .values(new)
            .returning(todo::task)
            .get_result(connection)?;
        written += task.map_or(0, |task| task.len());
        let found: i64 = todo::table
            .filter(todo::id.eq(40_000 + times))
            .count()
            .get_result(connection)?;
        read += found;
    }
    println!("{written} {read}");
    note(diesel::delete(todo::table.filter(todo::id.ge(40_000))).execute(connection));
    Ok(())
}

fn insert(connection: &mut PgConnection, task: &str) -> QueryResult<usize> {
    insert_into(todo::table)
        .values(todo::task.eq(task))
        .execute(connection)
}

fn transactions() -> Done {
    let connection = &mut connect();
    connection.transaction(|connection| {
        insert(connection, "kept")?;
        note(connection.transaction(|connection| {
            insert(connection, "undone")?;
            insert_into(todo::table)
                .values(todo::id.eq(1))
                .execute(connection)
        }));
        connection.transaction(|connection| insert(connection, "kept, too"))
    })?;
    note(connection.transaction::<(), _, _>(|connection| {
        update(todo::table)
            .set(todo::task.eq("undone"))
            .execute(connection)?;
        Err(Error::RollbackTransaction)
    }));
    let mut reading = connection.build_transaction().read_only().serializable();
    note(reading.run(|connection| insert(connection, "read only")));
    let kept = todo::table
        .filter(todo::task.like("kept%"))
        .order(todo::id)
        .select(todo::task);
    note(kept.load::<Option<String>>(connection));
    Ok(())
}

fn copies() -> Done {
    let connection = &mut connect();
    for _ in 0..2 {
        let rows: Vec<_> = (30_001..35_001)
            .map(|id| (todo::id.eq(id), todo::task.eq("copied")))
            .collect();
        note(
            diesel::copy_from(todo::table)
                .from_insertable(rows)
                .execute(connection),
        );
    }
    let raw = diesel::copy_to(todo::table).load_raw(connection)?;
    println!(
        "{}",
        std::io::read_to_string(raw).map_or(0, |text| text.lines().count())
    );
    note(diesel::delete(todo::table.filter(todo::id.gt(30_000))).execute(connection));
    Ok(())
}

fn notifications() -> Done {
    let connection = &mut connect();
    connection.batch_execute("LISTEN changed")?;
    connection.batch_execute(
        "INSERT INTO todo (task) VALUES ('x'); NOTIFY changed, 'one'; NOTIFY changed, 'two'",
    )?;
    for heard in connection.notifications_iter() {
        let heard = heard?;
        println!("{} {}", heard.channel, heard.payload);
    }
    Ok(())
}

fn errors() -> Done {
    let connection = &mut connect();
    for sql in [
        "INSERT INTO todo (id) VALUES (1)",
        "INSERT INTO todo VALUES (9, 'é', mistake)",
        "UPDATE todo SET id = 1 / (id - id)",
        "UPDATE todo SET",
    ] {
        note(connection.batch_execute(sql));
        note(sql_query(sql).execute(connection));
    }
    note(connection.batch_execute("SELECT 1; INSERT INTO todo VALUES (9, mistake)"));
    Ok(())
}

fn streams() -> Done {
    let connection = &mut connect();
    let numbers = || sql_query("SELECT n, 'row ' || n AS t FROM generate_series(1, 100000) AS n");
    let sum = |sum: usize, row: QueryResult<Counted>| row.map(|row| sum + row.n as usize + row.t.len());
    let mut rows = numbers().load_iter::<Counted, PgRowByRowLoadingMode>(connection)?;
    println!("{}", rows.try_fold(0, sum)?);
    drop(rows);
    let mut rows = numbers().load_iter::<Counted, DefaultLoadingMode>(connection)?;
    println!("{}", rows.try_fold(0, sum)?);
    Ok(())
}

fn blamed(connection: &mut PgConnection, task: &str, who: Option<i32>) -> QueryResult<usize> {
    insert_into(todo::table)
        .values((todo::task.eq(task), todo::who.eq(who)))
        .execute(connection)
}

fn contexts() -> Done {
    let connection = &mut connect();
    for who in 1..5 {
        let context = context_of(who);
        connection.transaction(|connection| {
            diesel::select(set_config("bemi.context", &context, true)).get_result::<String>(connection)?;
            blamed(connection, "set_config", Some(who))
        })?;
        connection.transaction(|connection| {
            connection.batch_execute(&format!("SET LOCAL bemi.context = '{context}'"))?;
            blamed(connection, "local", Some(who))
        })?;
        blamed(connection, "of the session", None)?;
        let commented =
            format!("/*Bemi {context} Bemi*/ INSERT INTO todo (task, who) VALUES ('comment', $1)");
        sql_query(commented).bind::<Integer, _>(who).execute(connection)?;
        connection.batch_execute(&format!("SET bemi.context = '{context}'"))?;
        blamed(connection, "set", Some(who))?;
        connection.batch_execute("RESET bemi.context")?;
    }
    Ok(())
}

fn main() -> Done {
    let lacks = [
        ("pipeline", "Diesel sends one statement at a time"),
        ("cancel", "the driver cannot cancel a statement"),
    ];
    introduce("diesel", &lacks);
    heading("connect: passwords in the clear and over tls");
    passwords()?;
    heading("types: there and back");
    types()?;
    heading("prepared: one statement a thousand times");
    prepared()?;
    heading("transaction: commits and savepoints");
    transactions()?;
    heading("copy: copies in and out");
    copies()?;
    heading("notify: notifications");
    notifications()?;
    heading("errors: in both protocols");
    errors()?;
    heading("stream: rows as they arrive");
    streams()?;
    heading("context: contexts of requests");
    contexts()
}
