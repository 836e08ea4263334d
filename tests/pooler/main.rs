//! PgBouncer behind the proxy and in front of it: nothing of one client ever reaches another's writes.
//!
//! Every row says itself which context it must carry. Several clients with contexts of their own share one or two
//! server connections; what the log says of each row must be what the row says.

mod actor;
mod interleave;
mod lane;
mod moves;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use actor::{Actor, insert};
use bemi::config::Pooler;
use bemi::wire::startup::startup_packet;
use futures_util::future::{join, join_all};
use interleave::Topology;
use serde_json::{Value as Json, json};
use support::pgbouncer::{self, Options, PgBouncer};
use support::proxy::{self, RunningProxy};
use support::wal::{Item, WalReader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

/// A proxy in front of a PgBouncer in front of the server.
struct Stage {
    direct: Client,
    wal: WalReader,
    bouncer: PgBouncer,
    proxy: RunningProxy,
    database: String,
}

async fn stage(options: &Options, pooler: Pooler) -> Stage {
    let cluster = support::cluster();
    let database = support::database(cluster).await;
    let direct = support::connect(cluster.port(), &database).await;
    let sql = "CREATE TABLE todo (id serial PRIMARY KEY, expected text)";
    direct.batch_execute(sql).await.expect("a table");
    let wal = WalReader::create(cluster, &database).await;
    let bouncer = PgBouncer::start(cluster, cluster.port(), options);
    let url = format!("postgresql://127.0.0.1:{}/?sslmode=disable", bouncer.port());
    let proxy = proxy::start_in_front_of(&url, |config| config.upstream.pooler = pooler).await;
    Stage {
        direct,
        wal,
        bouncer,
        proxy,
        database,
    }
}

impl Stage {
    fn config(&self) -> Config {
        support::config(self.proxy.port(), &self.database)
    }

    /// Every row is blamed on the context that it names; returns how many rows there are.
    async fn assert_blame(&self) -> usize {
        assert_blame(&self.wal).await
    }
}

async fn assert_blame(wal: &WalReader) -> usize {
    let mut rows = 0;
    for transaction in wal.transactions().await {
        let contexts = transaction.contexts();
        let changes = transaction.items.iter().filter(|item| item.is_change());
        for (change, context) in changes.zip(contexts) {
            let Item::Insert { new, .. } = change else {
                panic!("{change}")
            };
            let expected: Option<Json> = new["expected"].as_deref().map(|text| text.parse().expect("JSON"));
            assert_eq!(without_sql(context), expected, "{transaction:#?}");
            rows += 1;
        }
    }
    rows
}

/// `{}` says that there is no context.
fn without_sql(context: Option<Json>) -> Option<Json> {
    let Json::Object(mut members) = context? else {
        panic!("no object")
    };
    members.remove("SQL");
    (!members.is_empty()).then_some(Json::Object(members))
}

async fn let_clients_interleave(options: &Options, clients: usize) {
    const STEPS: usize = 80;
    let stage = stage(options, Pooler::Transaction).await;
    let mut actors = Vec::new();
    for name in 0..clients {
        actors.push(Actor::connect(&stage.config(), name, name % 2 == 1).await);
    }
    join_all(actors.iter_mut().map(async |actor| {
        for _ in 0..STEPS {
            actor.step().await;
        }
    }))
    .await;
    let rows = stage.assert_blame().await;
    assert!(rows > clients * STEPS / 2, "{rows}");
}

#[tokio::test]
async fn clients_that_share_one_server_connection_keep_their_contexts_apart() {
    let options = Options::default();
    let_clients_interleave(&options, 4).await;
}

#[tokio::test]
async fn clients_that_change_server_connections_keep_their_contexts() {
    let options = Options {
        pool_size: 3,
        ..Options::default()
    };
    let_clients_interleave(&options, 5).await;
}

#[tokio::test]
async fn clients_of_several_proxies_share_a_pooler() {
    let stage = stage(&Options::default(), Pooler::Transaction).await;
    let url = format!("postgresql://127.0.0.1:{}/?sslmode=disable", stage.bouncer.port());
    let other = proxy::start_in_front_of(&url, |config| config.upstream.pooler = Pooler::Transaction).await;
    let one = Actor::connect(&stage.config(), 1, true).await;
    let two = support::connect(other.port(), &stage.database).await;
    let bare = support::connect(stage.bouncer.port(), &stage.database).await;
    two.batch_execute("SET bemi.context = '{\"who\":2}'")
        .await
        .unwrap();
    for _ in 0..10 {
        one.extended(&insert(&one.context), None).await;
        two.query_typed(&insert(&Some(json!({"who": 2}))), &[])
            .await
            .unwrap();
        bare.query_typed(&insert(&None), &[]).await.unwrap();
        one.simple(&insert(&one.context)).await;
        two.batch_execute(&insert(&Some(json!({"who": 2}))))
            .await
            .unwrap();
    }
    assert_eq!(stage.assert_blame().await, 50);
}

#[tokio::test]
async fn a_server_connection_that_is_replaced_is_prepared_anew() {
    let stage = stage(&Options::default(), Pooler::Transaction).await;
    let actor = Actor::connect(&stage.config(), 1, true).await;
    for _ in 0..3 {
        actor.extended(&insert(&actor.context), None).await;
        let killed = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
                      WHERE datname = current_database() AND query LIKE 'INSERT INTO todo%'";
        let rows = stage.direct.query(killed, &[]).await.unwrap();
        assert_eq!(rows.len(), 1);
        // PgBouncer notices that its idle server connection is gone when it wakes up.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert_eq!(stage.assert_blame().await, 3);
}

/// Reads messages up to the first ReadyForQuery; returns them by type.
async fn read_to_ready(stream: &mut TcpStream) -> BTreeMap<char, Vec<u8>> {
    let mut messages = BTreeMap::new();
    loop {
        let tag = stream.read_u8().await.expect("a message");
        let len = stream.read_u32().await.expect("its length");
        let mut body = vec![0; len as usize - 4];
        stream.read_exact(&mut body).await.expect("its body");
        messages.insert(char::from(tag), body);
        if tag == b'Z' || tag == b'E' {
            return messages;
        }
    }
}

#[tokio::test]
async fn a_context_of_its_own_in_the_startup_packet_is_kept_from_the_pooler() {
    let stage = stage(&Options::default(), Pooler::Transaction).await;
    let parameters: [(&[u8], &[u8]); 3] = [
        (b"user", b"postgres"),
        (b"database", stage.database.as_bytes()),
        (b"bemi.context", b"{\"who\":1}"),
    ];
    let mut stream = TcpStream::connect(stage.proxy.address).await.unwrap();
    stream
        .write_all(&startup_packet(3 << 16, parameters))
        .await
        .unwrap();
    let started = read_to_ready(&mut stream).await;
    assert!(
        started.contains_key(&'K') && !started.contains_key(&'E'),
        "{started:?}"
    );
    let sql = insert(&Some(json!({"who": 1}))) + "\0";
    let mut query = vec![b'Q'];
    query.extend((sql.len() as u32 + 4).to_be_bytes());
    query.extend(sql.as_bytes());
    stream.write_all(&query).await.unwrap();
    assert_eq!(
        read_to_ready(&mut stream).await.get(&'C').unwrap(),
        b"INSERT 0 1\0"
    );
    assert_eq!(stage.assert_blame().await, 1);
}

#[tokio::test]
async fn a_cancel_request_finds_its_way_through_the_pooler() {
    let stage = stage(&Options::default(), Pooler::Transaction).await;
    let client = support::connect_with(&stage.config()).await.0;
    client
        .batch_execute("SET bemi.context = '{\"who\":1}'")
        .await
        .unwrap();
    let token = client.cancel_token();
    let cancel = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        token.cancel_query(NoTls).await
    };
    let (result, sent) = join(
        client.batch_execute("INSERT INTO todo SELECT 1, pg_sleep(60)::text"),
        cancel,
    )
    .await;
    sent.expect("sent");
    assert_eq!(result.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
    client
        .batch_execute(&insert(&Some(json!({"who": 1}))))
        .await
        .unwrap();
    assert_eq!(stage.assert_blame().await, 1);
}

#[tokio::test]
async fn a_session_pooler_hands_a_clean_session_to_the_next_client() {
    let stage = stage(
        &Options {
            pool_mode: "session",
            ..Options::default()
        },
        Pooler::None,
    )
    .await;
    for name in 0..6 {
        let mut actor = Actor::connect(&stage.config(), name, false).await;
        for _ in 0..20 {
            actor.step().await;
        }
        // A context that stays in force to the end of the session.
        actor.set().await;
        actor.write().await;
    }
    assert!(stage.assert_blame().await > 60);
}

#[tokio::test]
async fn what_a_session_pooler_refuses_at_the_start_it_refuses_through_the_proxy() {
    let options = Options {
        pool_mode: "session",
        ..Options::default()
    };
    let stage = stage(&options, Pooler::None).await;
    let mut errors = Vec::new();
    for port in [stage.bouncer.port(), stage.proxy.port()] {
        let mut config = support::config(port, &stage.database);
        let Err(error) = config.options("-c bemi.context={}").connect(NoTls).await else {
            panic!("port {port} took it");
        };
        errors.push(format!("{error:?}"));
    }
    assert_eq!(errors[0], errors[1]);

    let ignoring = Options {
        more: "ignore_startup_parameters = options",
        ..options
    };
    let stage = self::stage(&ignoring, Pooler::None).await;
    let actor = Actor::connect(&stage.config(), 1, true).await;
    actor.simple(&insert(&actor.context)).await;
    actor.client.execute(&insert(&actor.context), &[]).await.unwrap();
    assert_eq!(stage.assert_blame().await, 2);
}

#[tokio::test]
async fn behind_a_pooler_the_proxy_follows_what_comes_down_each_connection() {
    let cluster = support::cluster();
    for (pool_mode, is_session) in [("transaction", false), ("session", true)] {
        let database = support::database(cluster).await;
        let direct = support::connect(cluster.port(), &database).await;
        let sql = "CREATE TABLE todo (id serial PRIMARY KEY, expected text)";
        direct.batch_execute(sql).await.unwrap();
        let wal = WalReader::create(cluster, &database).await;
        let proxy = proxy::start(cluster).await;
        let options = Options {
            pool_mode,
            pool_size: 1,
            ..Options::default()
        };
        let bouncer = PgBouncer::start(cluster, proxy.port(), &options);
        for name in 0..6 {
            let context = Some(json!({"who": name}));
            let client = support::connect(bouncer.port(), &database).await;
            if is_session {
                let sql = format!("SET bemi.context = '{{\"who\":{name}}}'");
                client.batch_execute(&sql).await.unwrap();
                client.execute(&insert(&context), &[]).await.unwrap();
            }
            let sql = format!(
                "BEGIN; SET LOCAL bemi.context = '{{\"who\":{name}}}'; {}",
                insert(&context)
            );
            client.batch_execute(&sql).await.unwrap();
            client.query_typed(&insert(&context), &[]).await.unwrap();
            client.batch_execute("COMMIT").await.unwrap();
            let sql = format!("/*Bemi {{\"who\":{name}}} Bemi*/ {}", insert(&context));
            client.query_typed(&sql, &[]).await.unwrap();
            drop(client);
            let bare = support::connect(bouncer.port(), &database).await;
            bare.query_typed(&insert(&None), &[]).await.unwrap();
            bare.batch_execute(&insert(&None)).await.unwrap();
        }
        assert_eq!(
            assert_blame(&wal).await,
            6 * (5 + usize::from(is_session)),
            "{pool_mode}"
        );
    }
}

/// The modes of PgBouncer, and its versions as far as they are there.
fn in_every_topology(is_in_front: bool) {
    let more = ["", "server_reset_query_always = 1"];
    for (pool_mode, more) in [
        ("transaction", more[0]),
        ("transaction", more[1]),
        ("session", more[0]),
    ] {
        for is_newer in [false, true] {
            if is_newer && !pgbouncer::has_newer() {
                eprintln!(
                    "NOT RUN: a PgBouncer that keeps track of prepared statements; see scripts/install-pgbouncer.sh"
                );
                continue;
            }
            let options = Options {
                pool_mode,
                more,
                is_newer,
                ..Options::default()
            };
            let what = format!("in front {is_in_front}, {pool_mode} {more}, newer {is_newer}");
            interleave::run(&Topology { options, is_in_front }, &what);
        }
    }
}

#[test]
fn two_clients_of_a_pooler_in_front_of_the_proxy_have_what_they_have_without_it() {
    in_every_topology(true);
}

#[test]
fn two_clients_of_a_pooler_behind_the_proxy_never_see_each_others_context() {
    in_every_topology(false);
}
