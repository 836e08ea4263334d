//! Where context comes from, what overrides what, and for how long it holds: on a real server.

mod support;

use bemi::config::{CommentReuse, Config, Fact};
use serde_json::{Map, Value as Json, json};
use support::proxy::{self, RunningProxy};
use support::wal::WalReader;
use tokio_postgres::{Client, Config as ClientConfig};

struct Stage {
    proxy: RunningProxy,
    database: String,
    wal: WalReader,
}

async fn stage() -> Stage {
    stage_with(|_| {}).await
}

async fn stage_with(adjust: impl FnOnce(&mut Config)) -> Stage {
    let cluster = support::cluster();
    let database = support::database(cluster).await;
    let direct = support::connect(cluster.port(), &database).await;
    direct
        .batch_execute("CREATE TABLE todo (id int)")
        .await
        .expect("a table");
    let wal = WalReader::create(cluster, &database).await;
    Stage {
        proxy: proxy::start_with(cluster, adjust).await,
        database,
        wal,
    }
}

impl Stage {
    async fn client(&self) -> Client {
        support::connect(self.proxy.port(), &self.database).await
    }

    async fn client_with(&self, adjust: impl FnOnce(&mut ClientConfig)) -> Client {
        let mut config = support::config(self.proxy.port(), &self.database);
        adjust(&mut config);
        support::connect_with(&config).await.0
    }

    /// The contexts of what was written since the last call, each without its `SQL`.
    async fn contexts(&self) -> Vec<Option<Json>> {
        let transactions = self.wal.transactions().await;
        transactions
            .iter()
            .flat_map(|transaction| transaction.contexts())
            .map(|context| context.map(without_sql))
            .collect()
    }

    /// The context that one plain write gets now, over both protocols.
    async fn context_of_a_write(&self, client: &Client) -> Option<Json> {
        client
            .batch_execute("INSERT INTO todo VALUES (1)")
            .await
            .expect("a write");
        client
            .execute("INSERT INTO todo VALUES (2)", &[])
            .await
            .expect("a write");
        let mut contexts = self.contexts().await;
        assert_eq!(contexts.len(), 2);
        let extended = contexts.pop().flatten();
        assert_eq!(contexts.pop().flatten(), extended, "both protocols agree");
        extended
    }
}

fn without_sql(context: Json) -> Json {
    match context {
        Json::Object(mut entries) => {
            entries.remove("SQL");
            Json::Object(entries)
        }
        other => other,
    }
}

fn sqlstate(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("", |code| code.code())
}

#[tokio::test]
async fn each_source_overrides_the_ones_before_key_by_key() {
    let stage = stage_with(|config| {
        let Json::Object(fixed) = json!({"a": "static", "b": "static", "c": "static"}) else {
            unreachable!()
        };
        config.context.fixed = fixed;
    })
    .await;
    let client = stage.client().await;
    assert_eq!(
        stage.context_of_a_write(&client).await,
        Some(json!({"a": "static", "b": "static", "c": "static"}))
    );
    client
        .batch_execute(r#"SET bemi.context = '{"b": "session", "c": "session"}'"#)
        .await
        .unwrap();
    client
        .batch_execute(r#"INSERT INTO todo VALUES (1) /*Bemi {"c": "comment", "d": null} Bemi*/"#)
        .await
        .unwrap();
    let expected = json!({"a": "static", "b": "session", "c": "comment", "d": null});
    assert_eq!(stage.contexts().await, [Some(expected)]);
}

#[tokio::test]
async fn facts_that_the_operator_asked_for_are_the_lowest_layer() {
    let stage = stage_with(|config| {
        config.context.facts = vec![
            Fact::User,
            Fact::Database,
            Fact::ApplicationName,
            Fact::ClientAddr,
        ];
    })
    .await;
    let client = stage
        .client_with(|config| {
            config.application_name("shop");
        })
        .await;
    let facts = |name: &str| json!({"user": "postgres", "database": stage.database, "application_name": name, "client_addr": "127.0.0.1"});
    assert_eq!(stage.context_of_a_write(&client).await, Some(facts("shop")));
    client
        .batch_execute("SET application_name = 'till'")
        .await
        .unwrap();
    assert_eq!(stage.context_of_a_write(&client).await, Some(facts("till")));
}

#[tokio::test]
async fn a_session_may_start_with_a_context_and_reset_returns_to_it() {
    let stage = stage().await;
    let start = json!({"a": "start"});
    let client = stage
        .client_with(|config| {
            config.options(r#"-c bemi.context={"a":"start"}"#);
        })
        .await;
    assert_eq!(stage.context_of_a_write(&client).await, Some(start.clone()));
    for back in [
        "RESET bemi.context",
        "RESET ALL",
        "SET bemi.context TO DEFAULT",
        "DISCARD ALL",
    ] {
        client
            .batch_execute(r#"SET bemi.context = '{"b": 1}'"#)
            .await
            .unwrap();
        assert_eq!(
            stage.context_of_a_write(&client).await,
            Some(json!({"b": 1})),
            "the setting has one value"
        );
        client.batch_execute(back).await.unwrap();
        assert_eq!(
            stage.context_of_a_write(&client).await,
            Some(start.clone()),
            "{back}"
        );
    }
}

#[tokio::test]
async fn an_invalid_context_in_the_startup_packet_ends_the_connection() {
    let stage = stage().await;
    let mut config = support::config(stage.proxy.port(), &stage.database);
    config.options("-c bemi.context=[1]");
    let error = config
        .connect(tokio_postgres::NoTls)
        .await
        .err()
        .expect("refused");
    assert_eq!(sqlstate(&error), "22023");
}

#[tokio::test]
async fn set_config_is_read_whatever_its_arguments_are() {
    let stage = stage().await;
    let client = stage.client().await;
    let one = json!({"a": 1});
    let literal = r#"SELECT set_config('bemi.context', '{"a": 1}', false)"#;
    let expressions = [
        r#"SELECT set_config('bemi.context', '{"a": ' || 1 || '}', false)"#,
        r#"SELECT pg_catalog.set_config('bemi.context', json_build_object('a', 1)::text, false) AS done -- so"#,
        r#"SELECT length(set_config('Bemi.Context', jsonb_build_object('a', 1)::text, 1 = 2)) FROM generate_series(1, 2)"#,
        r#"SELECT set_config('bemi.context', x, false) FROM (VALUES ('{"a": 1}')) AS v (x);"#,
    ];
    for sql in std::iter::once(literal).chain(expressions) {
        for extended in [false, true] {
            client.batch_execute("RESET bemi.context").await.unwrap();
            if extended {
                client.query(sql, &[]).await.unwrap();
            } else {
                client.simple_query(sql).await.unwrap();
            }
            assert_eq!(
                stage.context_of_a_write(&client).await,
                Some(one.clone()),
                "{sql} (extended: {extended})"
            );
        }
    }
    let bound = "SELECT set_config('bemi.context', $1, $2)";
    client.query(bound, &[&r#"{"a": 2}"#, &false]).await.unwrap();
    assert_eq!(stage.context_of_a_write(&client).await, Some(json!({"a": 2})));
    let bound_name = "SELECT set_config($1, $2, $3)";
    client
        .query(bound_name, &[&"bemi.context", &r#"{"a": 3}"#, &false])
        .await
        .unwrap();
    client
        .query(bound_name, &[&"work_mem", &"4MB", &false])
        .await
        .unwrap();
    assert_eq!(stage.context_of_a_write(&client).await, Some(json!({"a": 3})));
    client.query(bound, &[&None::<String>, &false]).await.unwrap();
    assert_eq!(stage.context_of_a_write(&client).await, None);
    let merged = "SELECT set_config('bemi.context', jsonb_build_object('a', $1::int)::text, false)";
    client.query(merged, &[&4]).await.unwrap();
    assert_eq!(stage.context_of_a_write(&client).await, Some(json!({"a": 4})));
}

#[tokio::test]
async fn a_value_computed_in_the_query_of_its_write_is_in_force_there() {
    let stage = stage_with(|config| {
        config.context.fixed = Map::from_iter([("s".to_owned(), json!("é")), ("t".to_owned(), json!(0))]);
    })
    .await;
    let client = stage.client().await;
    let text = r#"SELECT set_config('bemi.context', json_build_object('a', 'ü', 't', 1)::text, true);
                  INSERT INTO todo VALUES (1) /*Bemi {"c": 3} Bemi*/; INSERT INTO todo VALUES (2)"#;
    client.batch_execute(text).await.unwrap();
    let expected = |mut context: Json| {
        context["s"] = json!("é");
        Some(context)
    };
    let contexts = stage.contexts().await;
    assert_eq!(
        contexts,
        [
            expected(json!({"a": "ü", "t": 1, "c": 3})),
            expected(json!({"a": "ü", "t": 1}))
        ]
    );
    assert_eq!(
        stage.context_of_a_write(&client).await,
        Some(json!({"s": "é", "t": 0})),
        "it was local"
    );
}

#[tokio::test]
async fn set_local_and_set_follow_the_servers_rules() {
    let stage = stage().await;
    let client = stage.client().await;
    let script = r#"
        BEGIN; SET LOCAL bemi.context = '{"a": 1}'; SAVEPOINT s; SET bemi.context = '{"b": 1}'; ROLLBACK TO s; WRITE; COMMIT; WRITE;
        BEGIN; SET bemi.context = '{"a": 2}'; SET LOCAL bemi.context = '{"b": 2}'; WRITE; COMMIT; WRITE;
        BEGIN; SET LOCAL bemi.context = '{"a": 3}'; SET bemi.context = '{"b": 3}'; COMMIT; WRITE;
        BEGIN; SET bemi.context = '{"a": 4}'; ROLLBACK; WRITE; RESET ALL; WRITE"#;
    let mut expected = Vec::new();
    for statement in script.replace("WRITE", "INSERT INTO todo VALUES (1)").split(';') {
        client.batch_execute(statement).await.unwrap();
        if statement.contains("INSERT") {
            let truth = client
                .query_one("SELECT current_setting('bemi.context', true)", &[])
                .await
                .unwrap();
            let truth: Option<String> = truth.get(0);
            expected.push(
                truth
                    .filter(|text| !text.is_empty())
                    .map(|text| serde_json::from_str::<Json>(&text).unwrap()),
            );
        }
    }
    assert_eq!(stage.contexts().await, expected);
    assert_eq!(
        expected,
        [
            Some(json!({"a": 1})),
            None,
            Some(json!({"b": 2})),
            Some(json!({"a": 2})),
            Some(json!({"b": 3})),
            Some(json!({"b": 3})),
            None,
        ]
    );
}

#[tokio::test]
async fn an_invalid_value_is_an_error_and_leaves_the_old_one_in_force() {
    let stage = stage_with(|config| config.context.max_bytes = 100).await;
    let client = stage.client().await;
    client
        .batch_execute(r#"SET bemi.context = '{"a": 1}'"#)
        .await
        .unwrap();
    let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(100));
    let values = ["[1]", "null", "nonsense", "{", "12", &long];
    for value in values {
        let statements = [
            format!("SET bemi.context = '{value}'"),
            format!("SET LOCAL bemi.context TO '{value}'"),
            format!("SELECT set_config('bemi.context', '{value}', false)"),
            format!("SELECT set_config('bemi.context', '{value}' || '', false)"),
        ];
        for sql in &statements {
            for extended in [false, true] {
                let failed = if extended {
                    client.execute(sql, &[]).await.err()
                } else {
                    client.batch_execute(sql).await.err()
                };
                let error = failed.unwrap_or_else(|| panic!("{sql} succeeded"));
                assert_eq!(sqlstate(&error), "22023", "{sql}: {error}");
                let message = error.as_db_error().unwrap().message().to_owned();
                assert!(
                    message.starts_with("invalid value for parameter \"bemi.context\""),
                    "{message}"
                );
            }
        }
        assert_eq!(
            stage.context_of_a_write(&client).await,
            Some(json!({"a": 1})),
            "{value}"
        );
    }
    let bound = "SELECT set_config('bemi.context', $1, false)";
    assert_eq!(
        sqlstate(&client.query(bound, &[&"[]"]).await.unwrap_err()),
        "22023"
    );
    assert_eq!(stage.context_of_a_write(&client).await, Some(json!({"a": 1})));
}

#[tokio::test]
async fn a_refused_set_fails_its_transaction_as_any_failed_set() {
    let stage = stage().await;
    let client = stage.client().await;
    for sql in [
        "SET bemi.context = '[]'",
        "SELECT set_config('bemi.context', '[' || ']', true)",
    ] {
        for extended in [false, true] {
            client
                .batch_execute("BEGIN; INSERT INTO todo VALUES (1); SAVEPOINT s")
                .await
                .unwrap();
            let failed = if extended {
                client.execute(sql, &[]).await.err()
            } else {
                client.batch_execute(sql).await.err()
            };
            assert_eq!(sqlstate(&failed.expect("refused")), "22023", "{sql}");
            let error = client
                .batch_execute("INSERT INTO todo VALUES (2)")
                .await
                .unwrap_err();
            assert_eq!(sqlstate(&error), "25P02", "{sql}");
            client
                .batch_execute("ROLLBACK TO s; INSERT INTO todo VALUES (3); COMMIT")
                .await
                .unwrap();
            assert_eq!(stage.contexts().await.len(), 2);
        }
    }
    let text = "INSERT INTO todo VALUES (4); SET bemi.context = '[]'; INSERT INTO todo VALUES (5)";
    assert_eq!(sqlstate(&client.batch_execute(text).await.unwrap_err()), "22023");
    assert_eq!(stage.contexts().await.len(), 0, "the whole text is rolled back");
}

#[tokio::test]
async fn an_invalid_comment_is_a_warning_and_never_an_error() {
    let stage = stage().await;
    let config = support::config(stage.proxy.port(), &stage.database);
    let (client, mut notices) = support::connect_with(&config).await;
    let sql = "INSERT INTO todo VALUES (1) /*Bemi {\"a\": } Bemi*/";
    client.batch_execute(sql).await.unwrap();
    let notice = notices.recv().await.expect("a warning");
    assert_eq!((notice.severity(), notice.code().code()), ("WARNING", "01000"));
    client.execute(sql, &[]).await.unwrap();
    assert!(notices.recv().await.is_some());
    assert_eq!(stage.contexts().await, [None, None]);
}

#[tokio::test]
async fn comments_of_other_tools_are_read_where_their_grammar_is_met() {
    let stage = stage_with(|config| config.comments.marginalia = true).await;
    let client = stage.client().await;
    for (sql, context) in [
        (
            "INSERT INTO todo VALUES (1) /*controller='todos',route='%2Ftodo%20s'*/",
            json!({"controller": "todos", "route": "/todo s"}),
        ),
        (
            "/*action:create,controller:todos*/ INSERT INTO todo VALUES (1)",
            json!({"action": "create", "controller": "todos"}),
        ),
        ("INSERT INTO todo VALUES (1); /*a='1'*/", json!({"a": "1"})),
        (
            "INSERT INTO todo VALUES (1) /*Bemi {\"b\": 1} Bemi*/ /*a='1'*/",
            json!({"b": 1, "a": "1"}),
        ),
    ] {
        client.batch_execute(sql).await.unwrap();
        assert_eq!(stage.contexts().await, [Some(context.clone())], "{sql}");
        client.execute(sql, &[]).await.unwrap();
        assert_eq!(stage.contexts().await, [Some(context)], "{sql}");
    }
    for sql in [
        "INSERT INTO todo VALUES (1) /* TODO: mend this */",
        "/*+ SeqScan(todo) */ INSERT INTO todo VALUES (1)",
        "INSERT /*a='1'*/ INTO todo VALUES (1)",
        "INSERT INTO todo SELECT length('/*Bemi {\"a\": 1} Bemi*/')",
    ] {
        client.batch_execute(sql).await.unwrap();
        assert_eq!(stage.contexts().await, [None], "{sql}");
    }
}

#[tokio::test]
async fn a_comment_counts_for_every_execution_unless_told_otherwise() {
    let sql = "INSERT INTO todo VALUES (1) /*Bemi {\"who\": 1} Bemi*/";
    for (reuse, carries) in [
        (CommentReuse::Every, [true, true, true]),
        (CommentReuse::First, [true, false, false]),
        // tokio-postgres prepares in one Sync group and executes in the next.
        (CommentReuse::SameSync, [false, false, false]),
    ] {
        let stage = stage_with(|config| config.comments.reuse = reuse).await;
        let client = stage.client().await;
        let statement = client.prepare(sql).await.unwrap();
        for carries in carries {
            client.execute(&statement, &[]).await.unwrap();
            let expected = carries.then(|| json!({"who": 1}));
            assert_eq!(stage.contexts().await, [expected], "{reuse:?}");
        }
        client.batch_execute(sql).await.unwrap();
        assert_eq!(
            stage.contexts().await,
            [Some(json!({"who": 1}))],
            "{reuse:?}: a text of its own"
        );
    }
}

#[tokio::test]
async fn the_context_is_ascii_and_reads_back_in_every_client_encoding() {
    let stage = stage().await;
    let client = stage.client().await;
    for encoding in ["LATIN1", "WIN1252", "UTF8"] {
        client
            .batch_execute(&format!("SET client_encoding = '{encoding}'"))
            .await
            .unwrap();
        client.batch_execute("SELECT 1").await.unwrap();
        // Only ASCII is sent here: E'' escapes are decoded by the server, and must be by the proxy.
        client
            .batch_execute(r#"SET bemi.context = E'{"name": "\u00e9\\u20ac"}'"#)
            .await
            .unwrap();
        client.batch_execute("INSERT INTO todo VALUES (1)").await.unwrap();
        assert_eq!(
            stage.contexts().await,
            [Some(json!({"name": "é€"}))],
            "{encoding}"
        );
    }
}

#[tokio::test]
async fn with_standard_conforming_strings_off_a_backslash_escapes() {
    let stage = stage().await;
    let client = stage.client().await;
    client
        .batch_execute("SET standard_conforming_strings = off; SET escape_string_warning = off")
        .await
        .unwrap();
    client
        .batch_execute(r#"SET bemi.context = '{"a": "it\'s; \\"quoted\\""}'"#)
        .await
        .unwrap();
    client
        .batch_execute(r"INSERT INTO todo SELECT length('\'; SELECT 1; --')")
        .await
        .unwrap();
    assert_eq!(stage.contexts().await, [Some(json!({"a": "it's; \"quoted\""}))]);
}

#[tokio::test]
async fn a_context_may_bring_its_own_sql() {
    let stage = stage().await;
    let client = stage.client().await;
    client
        .batch_execute(r#"SET bemi.context = '{"SQL": "mine"}'; INSERT INTO todo VALUES (1)"#)
        .await
        .unwrap();
    let messages = stage.wal.transaction().await.messages();
    assert_eq!(messages, [json!({"SQL": "mine"})]);
}
