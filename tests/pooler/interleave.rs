//! Two clients over one server connection, in every order of what they do with their contexts.
//!
//! What they do is made up while they do it by way of a pooler alone, and then done again with the proxy before or behind
//! that pooler: each reply must be the same, and each row that arrives must carry the context that its writer had. The
//! server itself says which that is, in a column whose default is `current_setting('bemi.context', true)`:
//!
//! ```text
//!   pooler that gives each transaction another session, behind the proxy
//!       the row that a server connection of each client's own made of the same
//!   anything else
//!       the row itself, and it is the same without the proxy: in front of the proxy a SET is as much of one client or of
//!       both as any other setting of that pooler's
//! ```

use std::collections::BTreeMap;

use bemi::config::Pooler;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Map, Value as Json};
use tokio_postgres::Client;

use crate::lane::{Action, Lane};
use crate::moves::{ALL, Author, Move, SCENES, any, chance};
use crate::support::pgbouncer::{Options, PgBouncer};
use crate::support::proxy::{self, RunningProxy, background};
use crate::support::raw::Frame;
use crate::support::wal::{Item, WalReader};
use crate::support::{self, number};

/// A pooler, and where the proxy is.
#[derive(Clone)]
pub struct Topology {
    pub options: Options,
    pub is_in_front: bool,
}

impl Topology {
    fn is_session(&self) -> bool {
        self.options.pool_mode == "session"
    }

    /// Whether a client may have another's server session at its next transaction.
    fn shares_settings(&self) -> bool {
        !self.is_session() && !self.is_in_front
    }
}

struct Stage {
    topology: Topology,
    /// By way of the pooler alone, and of pooler and proxy.
    plain: Lane,
    proxied: Lane,
    /// Directly to the server, where settings are not to be those of a pooler.
    direct: Option<Lane>,
    /// Where the rows are that tell what is right.
    referee: Client,
    wal: WalReader,
    _poolers: [PgBouncer; 2],
    _proxy: RunningProxy,
}

async fn database() -> String {
    let cluster = support::cluster();
    let database = support::database(cluster).await;
    let client = support::connect(cluster.port(), &database).await;
    let sql = "CREATE TABLE todo (id serial PRIMARY KEY, round int, client int, step int, comment text, \
               seen text DEFAULT current_setting('bemi.context', true))";
    client.batch_execute(sql).await.expect("a table");
    database
}

impl Stage {
    async fn new(topology: &Topology) -> Self {
        let cluster = support::cluster();
        let (plain, proxied, direct) = (database().await, database().await, database().await);
        let wal = WalReader::create(cluster, &proxied).await;
        let alone = PgBouncer::start(cluster, cluster.port(), &topology.options);
        let (pooler, proxy, port);
        if topology.is_in_front {
            proxy = proxy::start(cluster).await;
            pooler = PgBouncer::start(cluster, proxy.port(), &topology.options);
            port = pooler.port();
        } else {
            pooler = PgBouncer::start(cluster, cluster.port(), &topology.options);
            let url = format!("postgresql://127.0.0.1:{}/?sslmode=disable", pooler.port());
            let mode = if topology.is_session() {
                Pooler::None
            } else {
                Pooler::Transaction
            };
            proxy = proxy::start_in_front_of(&url, |config| config.upstream.pooler = mode).await;
            port = proxy.port();
        }
        let shares = topology.shares_settings();
        let referee = if shares { &direct } else { &plain };
        Self {
            topology: topology.clone(),
            plain: Lane::new(alone.port(), &plain),
            proxied: Lane::new(port, &proxied),
            direct: shares.then(|| Lane::new(cluster.port(), &direct)),
            referee: support::connect(cluster.port(), referee).await,
            wal,
            _poolers: [alone, pooler],
            _proxy: proxy,
        }
    }

    /// Does what was done by way of the pooler alone on the other ways.
    fn again(&mut self, told: &[(Action, Vec<Frame>)], what: &str) {
        for (action, expected) in told {
            let heard = self
                .proxied
                .act(action)
                .unwrap_or_else(|error| panic!("{what}: {action:?}: {error}"));
            assert_eq!(
                lines(&heard),
                lines(expected),
                "{what}: {action:?}\n{}",
                story(told)
            );
        }
        if let Some(direct) = &mut self.direct {
            for (action, _) in told {
                direct
                    .act(action)
                    .unwrap_or_else(|error| panic!("{what}, directly: {action:?}: {error}"));
            }
        }
    }

    /// Each row carries the context of its writer; returns how many rows there are.
    async fn check(&self, what: &str, stories: &BTreeMap<u64, String>) -> usize {
        let rows = self
            .referee
            .query("SELECT round, step, seen FROM todo", &[])
            .await
            .expect("rows");
        let seen: BTreeMap<(i32, i32), Option<String>> = rows
            .iter()
            .map(|row| ((row.get(0), row.get(1)), row.get(2)))
            .collect();
        let (mut checked, mut unknown, mut other) = (0, 0, 0);
        for transaction in self.wal.transactions().await {
            let contexts = transaction.contexts();
            let changes = transaction.items.iter().filter(|item| item.is_change());
            for (change, context) in changes.zip(contexts) {
                let Item::Insert { new, .. } = change else {
                    panic!("{change}")
                };
                let number = |column: &str| {
                    new[column]
                        .as_deref()
                        .and_then(|text| text.parse().ok())
                        .expect("a number")
                };
                let key: (i32, i32) = (number("round"), number("step"));
                // What was sent by a client that did not stay may have come to something on one way only.
                let Some(seen) = seen.get(&key) else {
                    unknown += 1;
                    continue;
                };
                let own = new["seen"].as_deref();
                let is_shared = self.direct.is_some();
                // A session that never had one has NULL, one that had has ''.
                let differs = merged([own, None]) != merged([seen.as_deref(), None]);
                other += usize::from(!is_shared && differs);
                let seen = if is_shared { seen.as_deref() } else { own };
                let expected = merged([seen, new["comment"].as_deref()]);
                let story = stories.get(&(key.0 as u64)).map_or("", String::as_str);
                assert_eq!(
                    without_sql(context),
                    expected,
                    "{what}, round {key:?}: {change}\n{story}"
                );
                checked += 1;
            }
        }
        println!("{what}: {checked} rows, {unknown} whose writer did not wait, {other} with another setting");
        // Whether PgBouncer keeps a server session, settings included, is a matter of time when a client leaves that did
        // not wait.
        assert!(
            other * 10 <= checked,
            "{other} of {checked} rows saw another setting"
        );
        assert!(
            unknown * 10 <= checked,
            "{unknown} of {checked} rows are unknown to the referee"
        );
        checked
    }
}

fn merged(contexts: [Option<&str>; 2]) -> Map<String, Json> {
    let parsed = contexts
        .into_iter()
        .flatten()
        .filter(|context| !context.is_empty());
    parsed
        .flat_map(|context| serde_json::from_str::<Map<String, Json>>(context).expect("JSON"))
        .collect()
}

fn without_sql(context: Option<Json>) -> Map<String, Json> {
    match context {
        Some(Json::Object(mut members)) => {
            members.remove("SQL");
            members
        }
        None => Map::new(),
        other => panic!("no object: {other:?}"),
    }
}

fn lines(frames: &[Frame]) -> Vec<String> {
    frames
        .iter()
        .map(|frame| format!("{} {}", char::from(frame.tag), frame.body.escape_ascii()))
        .collect()
}

fn story(told: &[(Action, Vec<Frame>)]) -> String {
    let lines = told.iter().map(|(action, heard)| match action {
        Action::Send(client, bytes) => format!("{client} says {}\n", bytes.escape_ascii()),
        Action::Read(client) => format!("{client} hears {}\n", lines(heard).join(" | ")),
        other => format!("{other:?}\n"),
    });
    lines.collect()
}

/// What a client is in the midst of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Away,
    Idle,
    /// It has the server connection to itself.
    Holds,
    /// As well, in a failed transaction.
    Failed,
    /// It waits for so many ReadyForQuery, until the other gives the connection back.
    Waits(usize),
}

/// Makes up a story by way of the pooler alone.
struct Teller<'a> {
    lane: &'a mut Lane,
    author: Author,
    is_session: bool,
    states: [State; 2],
    told: Vec<(Action, Vec<Frame>)>,
}

impl Teller<'_> {
    fn act(&mut self, action: Action) -> u8 {
        let heard = self
            .lane
            .act(&action)
            .unwrap_or_else(|error| panic!("{action:?}: {error}\n{}", story(&self.told)));
        let status = heard
            .last()
            .and_then(|ready| ready.body.first())
            .copied()
            .unwrap_or(b'I');
        self.told.push((action, heard));
        status
    }

    fn state(&self, client: usize) -> State {
        self.states[client]
    }

    fn holds(&self, client: usize) -> bool {
        matches!(self.states[client], State::Holds | State::Failed)
    }

    /// Whether the client can do anything at all now.
    fn can_move(&self, client: usize) -> bool {
        !matches!(self.states[client], State::Waits(_))
    }

    fn make(&mut self, client: usize, what: Move) {
        if self.states[client] == State::Away {
            if matches!(what, Move::Terminate | Move::Vanish) {
                return;
            }
            self.act(Action::Connect(client));
            self.states[client] = State::Idle;
        }
        let said = self.author.say(client, what);
        match what {
            Move::Terminate => return self.leave(client, Action::Terminate(client)),
            Move::Vanish => return self.leave(client, Action::Vanish(client)),
            _ => self.act(Action::Send(client, said.bytes)),
        };
        if what == Move::VanishUnheard {
            return self.leave(client, Action::Vanish(client));
        }
        if self.holds(1 - client) {
            self.states[client] = State::Waits(said.readies);
        } else {
            self.hear(client, said.readies);
        }
    }

    fn hear(&mut self, client: usize, readies: usize) {
        let statuses: Vec<_> = (0..readies).map(|_| self.act(Action::Read(client))).collect();
        self.states[client] = match statuses.last() {
            Some(b'E') => State::Failed,
            Some(b'I') if !self.is_session => State::Idle,
            _ => State::Holds,
        };
        self.let_the_other_go_on(client);
    }

    fn leave(&mut self, client: usize, how: Action) {
        self.act(how);
        self.states[client] = State::Away;
        self.let_the_other_go_on(client);
    }

    fn let_the_other_go_on(&mut self, client: usize) {
        if let State::Waits(readies) = self.states[1 - client]
            && !self.holds(client)
        {
            self.hear(1 - client, readies);
        }
    }

    /// Both go home.
    fn end(mut self) -> Vec<(Action, Vec<Frame>)> {
        // Who waits does so until the other has left.
        for client in [0, 1, 0] {
            if self.can_move(client) && self.state(client) != State::Away {
                self.leave(client, Action::Terminate(client));
            }
        }
        self.told
    }
}

fn tell(stage: &mut Stage, round: u64, moves: impl FnOnce(&mut Teller<'_>)) -> Vec<(Action, Vec<Frame>)> {
    let mut teller = Teller {
        is_session: stage.topology.is_session(),
        lane: &mut stage.plain,
        author: Author::new(round),
        states: [State::Away; 2],
        told: Vec::new(),
    };
    moves(&mut teller);
    teller.end()
}

/// Some moves of both, at random.
fn at_random(teller: &mut Teller<'_>, random: &mut StdRng, moves: &[Move]) {
    for _ in 0..40 {
        let client = usize::from(chance(random, 0.5));
        let client = if teller.can_move(client) {
            client
        } else {
            1 - client
        };
        let what = any(random, moves);
        // A statement that a failed transaction refuses to prepare is not there later.
        let what = if what == Move::WriteReused && teller.state(client) == State::Failed {
            Move::Rollback
        } else {
            what
        };
        teller.make(client, what);
    }
}

/// One scene of each, the second beginning after so many moves of the first; then both write.
fn in_turn(teller: &mut Teller<'_>, scenes: [&[Move]; 2], ahead: usize) {
    let mut moves = [scenes[0].iter(), scenes[1].iter()];
    for _ in 0..ahead {
        if let Some(what) = moves[0].next() {
            teller.make(0, *what);
        }
    }
    loop {
        let mut moved = false;
        for client in [1, 0] {
            if teller.can_move(client)
                && let Some(what) = moves[client].next()
            {
                teller.make(client, *what);
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    for client in [0, 1, 0, 1] {
        if teller.can_move(client) {
            teller.make(client, Move::Write);
        }
    }
}

/// Every pair of scenes, and random moves. `BEMI_EXHAUSTIVE=1` has each pair in every way that one can be ahead of the
/// other, not in one of three; `BEMI_SEED=10017 BEMI_SEQUENCES=1` has some random moves again.
pub fn run(topology: &Topology, what: &str) {
    let mut stage = background().block_on(Stage::new(topology));
    let mut stories = BTreeMap::new();
    let mut round = 0;
    let is_exhaustive = std::env::var_os("BEMI_EXHAUSTIVE").is_some();
    // What the pooler does between clients adds nothing to what they do.
    let has_pairs = is_exhaustive || topology.options.more.is_empty();
    if has_pairs && std::env::var_os("BEMI_SEED").is_none() {
        for (row, first) in SCENES.iter().enumerate() {
            for (column, second) in SCENES.iter().enumerate() {
                for (place, ahead) in [0, first.len().div_ceil(2), first.len()].into_iter().enumerate() {
                    round += 1;
                    if !is_exhaustive && (row + column) % 3 != place {
                        continue;
                    }
                    let told = tell(&mut stage, round, |teller| {
                        in_turn(teller, [first, second], ahead)
                    });
                    stage.again(&told, &format!("{what}: {first:?} and {second:?}, {ahead} ahead"));
                    stories.insert(round, story(&told));
                }
            }
        }
    }
    let mut moves = ALL.to_vec();
    if topology.options.is_newer {
        moves.extend([Move::WriteReused; 4]);
    }
    let first = number("BEMI_SEED", 10_000);
    for seed in first..first + number("BEMI_SEQUENCES", 60) {
        let mut random = StdRng::seed_from_u64(seed);
        let told = tell(&mut stage, seed, |teller| at_random(teller, &mut random, &moves));
        stage.again(&told, &format!("{what}: BEMI_SEED={seed} BEMI_SEQUENCES=1"));
        stories.insert(seed, story(&told));
    }
    let rows = background().block_on(stage.check(what, &stories));
    assert!(rows > stories.len(), "{rows}");
}
