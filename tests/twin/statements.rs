//! Makes up statements, one at a time.
//!
//! Never said, since the server alone would not answer the same twice, or since the README names the difference:
//! - anything that shows a clock, a process, a transaction's number, a position in the log, the number of a fresh object,
//!   a plan's costs, or rows in the order in which they happen to lie;
//! - `current_query()`, `pg_stat_activity`, `client_min_messages = log`, the statement of a cursor in `pg_cursors` and of a
//!   PREPARE in `pg_prepared_statements`: the statement put ahead of a write in a Query is part of the Query's text, and
//!   the server keeps all of it (`p_sourcetext` in portalcmds.c and prepare.c);
//! - results so long that a part of them may still wait in the server when it ends the session: the network drops that;
//! - values of `bemi.context` that are no context, and comments that claim to be one: refused by design, and tested in
//!   tests/differential and tests/context.rs.

use super::dice::Dice;
use super::support::version;

pub struct Author {
    pub dice: Dice,
    pub seed: u64,
    /// What the statements made since the last look exercise.
    pub labels: Vec<&'static str>,
    next_id: i32,
    in_block: bool,
}

/// Runs what it explains, and prints nothing that differs from one run to the next.
const EXPLAIN: &str = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF)";

const FIRST_FRESH_ID: i32 = 10;

#[derive(Clone, Copy)]
enum Topic {
    Write,
    OddWrite,
    Read,
    Transaction,
    Savepoint,
    Context,
    Setting,
    Cursor,
    Prepare,
    Do,
    Notify,
    Lock,
    Temporary,
    Fail,
    Empty,
}

impl Author {
    pub fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            seed,
            labels: Vec::new(),
            next_id: FIRST_FRESH_ID,
            in_block: false,
        }
    }

    pub fn take_labels(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.labels)
    }

    pub fn label(&mut self, label: &'static str) {
        self.labels.push(label);
    }

    /// A statement without parameters.
    pub fn statement(&mut self) -> String {
        let savepoint = if self.in_block { 10 } else { 1 };
        let topic = self.dice.weighted(&[
            (26, Topic::Write),
            (10, Topic::OddWrite),
            (10, Topic::Read),
            (14, Topic::Transaction),
            (savepoint, Topic::Savepoint),
            (8, Topic::Context),
            (5, Topic::Setting),
            (8, Topic::Cursor),
            (6, Topic::Prepare),
            (4, Topic::Do),
            (3, Topic::Notify),
            (2, Topic::Lock),
            (3, Topic::Temporary),
            (9, Topic::Fail),
            (2, Topic::Empty),
        ]);
        match topic {
            Topic::Write => self.write(),
            Topic::OddWrite => self.odd_write(),
            Topic::Read => self.read(),
            Topic::Transaction => self.transaction(),
            Topic::Savepoint => self.savepoint(),
            Topic::Context => self.context(),
            Topic::Setting => self.setting(),
            Topic::Cursor => self.cursor(),
            Topic::Prepare => self.prepare(),
            Topic::Do => self.block(),
            Topic::Notify => self.notify(),
            Topic::Lock => self.lock(),
            Topic::Temporary => self.temporary(),
            Topic::Fail => self.fail(),
            Topic::Empty => self.empty(),
        }
    }

    fn said(&mut self, label: &'static str, sql: impl Into<String>) -> String {
        self.label(label);
        sql.into()
    }

    fn one_of(&mut self, label: &'static str, of: &[&str]) -> String {
        let sql = self.dice.pick(of);
        self.said(label, sql)
    }

    /// Mostly one that no row has yet.
    pub fn id(&mut self) -> i32 {
        if self.dice.chance(8) {
            return self.dice.between(1, 5) as i32;
        }
        self.next_id += 1;
        self.next_id
    }

    pub fn text(&mut self) -> &'static str {
        self.dice.pick(&[
            "x",
            "plain",
            "it''s",
            "zwölf é",
            "𝄞 clef",
            "notice me",
            "notice é",
            "boom",
            "日本",
            "",
        ])
    }

    pub fn write(&mut self) -> String {
        let (id, v, old) = (self.id(), self.text(), self.dice.between(1, 6));
        let sql = match self.dice.below(16) {
            0..4 => format!("INSERT INTO t (id, v) VALUES ({id}, '{v}')"),
            4 => {
                let second = self.id();
                format!(
                    "INSERT INTO t (id, v) VALUES ({id}, '{v}'), ({second}, 'second') RETURNING id, v, '{v}' || n"
                )
            }
            5 => format!(
                "INSERT INTO t (id, v) VALUES ({old}, '{v}') ON CONFLICT (id) DO UPDATE SET v = excluded.v || '+' RETURNING *"
            ),
            6 => format!("INSERT INTO t (id) VALUES ({old}) ON CONFLICT DO NOTHING"),
            7 | 8 => format!("UPDATE t SET v = '{v}', n = n + 1 WHERE id = {old}"),
            9 => format!("UPDATE t SET n = n * 300 WHERE id = {old} RETURNING n"),
            10 => format!("DELETE FROM t WHERE id = {old}"),
            11 => format!("DELETE FROM t WHERE v = 'zwölf é' AND id > {old}"),
            12 => format!("INSERT INTO audit (what) VALUES ('{v}')"),
            13 => format!(
                "WITH w AS (INSERT INTO t (id, v) VALUES ({id}, '{v}') RETURNING id) SELECT id + 1 FROM w"
            ),
            14 => format!(
                "WITH gone AS (DELETE FROM t WHERE id = {old} RETURNING *) INSERT INTO ruled SELECT id, v FROM gone"
            ),
            _ => format!("/* é */ INSERT INTO t (id, n) SELECT g, 7 FROM generate_series({id}, {id}) g"),
        };
        self.label("sql: write");
        self.commented(sql)
    }

    fn commented(&mut self, sql: String) -> String {
        match self.dice.below(30) {
            0 => self.said(
                "sql: context comment",
                format!("/*Bemi {{\"c\":\"é\"}} Bemi*/ {sql}"),
            ),
            1 => self.said("sql: context comment", format!("{sql} /*Bemi {{\"c\":1}} Bemi*/")),
            2 => self.said(
                "sql: context comment",
                format!("{sql} /*action='show',db='%C3%A9'*/"),
            ),
            3 => self.said("sql: line comment", format!("-- é first\n{sql}")),
            _ => sql,
        }
    }

    /// Writes that are more than an INSERT, UPDATE or DELETE.
    fn odd_write(&mut self) -> String {
        let (id, v, old) = (self.id(), self.text(), self.dice.between(1, 6));
        let temp = self.dice.pick(&["", "TEMP "]);
        let made = self.dice.pick(&["made_1", "made_2"]);
        match self.dice.below(19) {
            0 => self.said("sql: EXPLAIN ANALYZE of a write", format!("{EXPLAIN} INSERT INTO t (id, v) VALUES ({id}, '{v}')")),
            1 => self.said("sql: EXPLAIN ANALYZE of a write", format!("{EXPLAIN} DELETE FROM t WHERE id = {old}")),
            2 => self.said("sql: rule", format!("INSERT INTO ruled VALUES ({id}, '{v}') RETURNING id")),
            3 => self.said("sql: view", format!("UPDATE seen SET v = '{v}' WHERE id = {old}")),
            4 => self.said("sql: partitions", format!("INSERT INTO parts VALUES ({}, 'p')", id * 4)),
            5 => self.said("sql: CREATE TABLE AS", format!("CREATE {temp}TABLE {made} AS SELECT id + 0 AS id, v FROM t WHERE id < {old}")),
            6 => self.said("sql: CREATE TABLE AS", format!("CREATE {temp}TABLE IF NOT EXISTS {made} AS SELECT 1 AS one")),
            7 => self.said("sql: SELECT INTO", format!("SELECT id + 0 AS id INTO {temp}{made} FROM t WHERE id < {old}")),
            8 => self.said("sql: DROP", format!("DROP TABLE IF EXISTS {made}")),
            9 => self.said("sql: TRUNCATE", self_truncate(old)),
            10 => self.said("sql: foreign key", format!("INSERT INTO strict VALUES ({id}, {old})")),
            11 => self.said("sql: foreign key", format!("DELETE FROM parent WHERE id = {old}")),
            12 => self.said("sql: deferred constraint", format!("INSERT INTO t (id, parent) VALUES ({id}, {})", old + 1)),
            13 => self.said("sql: deferred constraint", "SET CONSTRAINTS ALL IMMEDIATE"),
            14 => self.said("sql: hidden write", format!("SELECT writes({id})")),
            15 => self.said("sql: CALL", format!("CALL proc_writes({id})")),
            16 => self.said("sql: CALL", format!("CALL proc_commits({id})")),
            17 => self.said("sql: long text", format!("INSERT INTO audit (what) VALUES ('{}')", "long é ".repeat(id as usize * 60))),
            _ if version::has(super::stage::cluster(), "MERGE", 15) => self.said("sql: MERGE", format!("MERGE INTO t USING (VALUES ({id}), ({old})) s (x) ON t.id = s.x WHEN MATCHED THEN UPDATE SET v = '{v}' WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.x, '{v}')")),
            _ => self.write(),
        }
    }

    pub fn read(&mut self) -> String {
        match self.dice.below(6) {
            0 => self.one_of("sql: settings", &[
                "SELECT current_setting('bemi.context', true)",
                "SHOW bemi.context",
                "SHOW transaction_isolation",
                "SHOW client_encoding",
                "SELECT current_setting('search_path'), current_setting('DateStyle')",
            ]),
            1 => self.one_of("sql: pg_prepared_statements", &[
                "SELECT name, CASE WHEN NOT from_sql THEN statement END, parameter_types FROM pg_prepared_statements ORDER BY name",
                "SELECT count(*) FROM pg_prepared_statements",
                "INSERT INTO audit (what) SELECT 'statements ' || string_agg(name, ',' ORDER BY name) FROM pg_prepared_statements",
            ]),
            2 => self.one_of("sql: pg_cursors", &[
                "SELECT name, is_holdable, is_binary, is_scrollable FROM pg_cursors ORDER BY name",
                "INSERT INTO audit (what) SELECT 'cursors ' || string_agg(name, ',' ORDER BY name) FROM pg_cursors",
            ]),
            3 => self.one_of("sql: large result", &[
                "SELECT g, repeat('x', 100) FROM generate_series(1, 120) g",
                "SELECT repeat('é', 5000)",
            ]),
            _ => self.one_of("sql: read", &[
                "SELECT id, v, n FROM t ORDER BY id",
                "SELECT count(*), sum(number) FROM audit",
                "TABLE parent ORDER BY id",
                "VALUES (1, 'é'), (2, NULL)",
                "SELECT",
                "SELECT generate_series(1, 5) AS g, 1.50 AS n, true AS b, NULL AS nothing",
                "SELECT id FROM t ORDER BY id FOR UPDATE",
                "SELECT what, setting FROM audit ORDER BY number DESC LIMIT 3",
                "EXPLAIN (COSTS OFF) SELECT id FROM t WHERE id = 1",
                "SELECT E'a\\tb', U&'d\\0061t\\+000061', $$dollar; 'quoted'$$, $q$ $$ $q$",
                "SELECT DATE '2020-02-29', INTERVAL '1 day 2 hours', TIMESTAMPTZ '2020-01-01 00:00:00+00'",
            ]),
        }
    }

    fn transaction(&mut self) -> String {
        if self.dice.chance(6) {
            let gid = format!("{}_{}", self.seed, self.dice.below(2));
            let verb = self.dice.pick(&[
                "PREPARE TRANSACTION",
                "PREPARE TRANSACTION",
                "COMMIT PREPARED",
                "ROLLBACK PREPARED",
            ]);
            return self.said("sql: two-phase commit", format!("{verb} '{gid}'"));
        }
        if self.dice.chance(8) {
            return self.one_of(
                "sql: SET TRANSACTION",
                &[
                    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
                    "SET TRANSACTION READ ONLY",
                    "SET TRANSACTION READ WRITE",
                    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
                ],
            );
        }
        if self.in_block != self.dice.chance(10) {
            let end = self.dice.weighted(&[
                (6, "COMMIT"),
                (1, "END"),
                (4, "ROLLBACK"),
                (1, "ABORT"),
                (2, "COMMIT AND CHAIN"),
                (1, "ROLLBACK AND CHAIN"),
            ]);
            self.in_block = end.contains("CHAIN");
            self.said(
                if self.in_block {
                    "sql: AND CHAIN"
                } else {
                    "sql: end of a transaction"
                },
                end,
            )
        } else {
            self.in_block = true;
            self.one_of(
                "sql: BEGIN",
                &[
                    "BEGIN",
                    "BEGIN",
                    "START TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                    "BEGIN READ ONLY",
                    "BEGIN DEFERRABLE",
                ],
            )
        }
    }

    fn savepoint(&mut self) -> String {
        let name = self.dice.pick(&["a", "b"]);
        let verb = self.dice.pick(&[
            "SAVEPOINT",
            "SAVEPOINT",
            "ROLLBACK TO",
            "ROLLBACK TO SAVEPOINT",
            "RELEASE",
        ]);
        self.said("sql: savepoint", format!("{verb} {name}"))
    }

    fn context(&mut self) -> String {
        let n = self.dice.below(9);
        match self.dice.below(9) {
            0 | 1 => self.said("sql: SET bemi.context", format!("SET bemi.context = '{{\"n\":{n},\"é\":\"ü\"}}'")),
            2 | 3 => self.said("sql: SET LOCAL bemi.context", format!("SET LOCAL bemi.context TO '{{\"local\":{n}}}'")),
            4 => self.said("sql: set_config of a literal", format!("SELECT set_config('bemi.context', '{{\"s\":{n}}}', {})", n.is_multiple_of(2))),
            5 => self.said("sql: set_config of an expression", format!("SELECT set_config('bemi.context', json_build_object('e', {n})::text, {})", n.is_multiple_of(2))),
            6 => self.said("sql: set_config per row", format!("SELECT set_config('bemi.context', '{{\"g\":' || g || '}}', false) FROM generate_series(1, {n}) g")),
            7 => self.one_of("sql: RESET bemi.context", &["RESET bemi.context", "SET bemi.context TO DEFAULT"]),
            _ => self.one_of("sql: clears the session", &["RESET ALL", "DISCARD ALL", "DEALLOCATE ALL", "DISCARD TEMP", "DISCARD PLANS"]),
        }
    }

    fn setting(&mut self) -> String {
        let local = self.dice.pick(&["", "LOCAL ", "SESSION "]);
        match self.dice.below(7) {
            0 | 1 => {
                let value =
                    self.dice
                        .pick(&["LATIN1", "UTF8", "SJIS", "GBK", "SQL_ASCII", "DEFAULT", "KLINGON"]);
                self.said(
                    "sql: client_encoding",
                    format!("SET {local}client_encoding TO {value}"),
                )
            }
            2 => {
                let value = self.dice.pick(&["off", "off", "on"]);
                self.said(
                    "sql: standard_conforming_strings",
                    format!("SET {local}standard_conforming_strings = {value}"),
                )
            }
            3 => self.one_of(
                "sql: backslashes",
                &[
                    r"SELECT 'a\b', 'é\\'",
                    r"INSERT INTO audit (what) VALUES ('back\slash')",
                    r"SELECT 'it\'s', ';'; SELECT '\'",
                    r"INSERT INTO audit (what) VALUES (E'it\'s; \\') RETURNING 'é\', what",
                ],
            ),
            4 => {
                let value = self.dice.pick(&["warning", "notice", "error", "info"]);
                self.said(
                    "sql: client_min_messages",
                    format!("SET {local}client_min_messages = {value}"),
                )
            }
            5 => self.one_of(
                "sql: reported settings",
                &[
                    "SET DateStyle = 'German, DMY'",
                    "SET TimeZone = 'Europe/Zurich'",
                    "SET application_name = 'näme'",
                    "SET IntervalStyle = 'iso_8601'",
                    "SET default_transaction_read_only = on",
                    "RESET default_transaction_read_only",
                    "SET search_path = pg_temp",
                    "SET search_path = public",
                ],
            ),
            _ => self.one_of(
                "sql: roles",
                &[
                    "SET ROLE twin_reader",
                    "SET LOCAL ROLE twin_reader",
                    "RESET ROLE",
                    "SET SESSION AUTHORIZATION twin_reader",
                    "RESET SESSION AUTHORIZATION",
                    "SET ROLE nobody_at_all",
                ],
            ),
        }
    }

    fn cursor(&mut self) -> String {
        let (name, n) = (self.dice.pick(&["c", "c", "d"]), self.dice.below(4));
        let hold = self.dice.pick(&["", "", "WITH HOLD "]);
        let scroll = self.dice.pick(&["", "SCROLL ", "BINARY "]);
        match self.dice.below(10) {
            0..4 => self.said(
                "sql: DECLARE",
                format!("DECLARE {name} {scroll}CURSOR {hold}FOR SELECT id, v FROM t ORDER BY id"),
            ),
            4 | 5 => self.said("sql: FETCH", format!("FETCH {n} FROM {name}")),
            6 => self.said("sql: FETCH", format!("FETCH BACKWARD 1 FROM {name}")),
            7 => self.said("sql: MOVE", format!("MOVE FORWARD {n} IN {name}")),
            8 => self.said(
                "sql: WHERE CURRENT OF",
                format!("UPDATE t SET n = 11 WHERE CURRENT OF {name}"),
            ),
            _ => self.one_of("sql: CLOSE", &["CLOSE c", "CLOSE d", "CLOSE ALL"]),
        }
    }

    fn prepare(&mut self) -> String {
        let (name, id) = (self.dice.pick(&["q", "r", "s1"]), self.id());
        match self.dice.below(8) {
            0 => self.said(
                "sql: PREPARE",
                format!(
                    "PREPARE {name} (int) AS INSERT INTO t (id, v) VALUES ($1, 'é prepared') RETURNING id"
                ),
            ),
            1 => self.said(
                "sql: PREPARE",
                format!("PREPARE {name} (int) AS SELECT $1 * 2 AS twice"),
            ),
            2 => self.said(
                "sql: PREPARE",
                format!("PREPARE {name} AS DELETE FROM t WHERE id > 40"),
            ),
            3..6 => self.said("sql: EXECUTE", format!("EXECUTE {name} ({id})")),
            6 => self.said("sql: EXECUTE", format!("EXECUTE {name}")),
            _ => self.said("sql: DEALLOCATE", format!("DEALLOCATE {name}")),
        }
    }

    fn block(&mut self) -> String {
        let id = self.id();
        match self.dice.below(6) {
            0 => self.said(
                "sql: DO with a notice",
                format!("DO $$ BEGIN RAISE NOTICE 'é %', {id}; RAISE WARNING 'w'; END $$"),
            ),
            1 => self.said(
                "sql: DO that writes",
                format!("DO $$ BEGIN INSERT INTO t (id, v) VALUES ({id}, 'notice do'); END $$"),
            ),
            2 => self.said("sql: DO that fails", "DO $$ BEGIN PERFORM 1/0; END $$"),
            3 => self.said("sql: DO that fails", "DO $$ BEGIN PERFORM é FROM nowhere; END $$"),
            4 => self.said(
                "sql: DO that commits",
                format!("DO $$ BEGIN INSERT INTO audit (what) VALUES ('do {id}'); COMMIT; END $$"),
            ),
            _ => self.said("sql: DO that fails", "DO $$ BEGIN IF THEN; END $$"),
        }
    }

    fn notify(&mut self) -> String {
        self.one_of(
            "sql: LISTEN and NOTIFY",
            &[
                "LISTEN news",
                "LISTEN news",
                "NOTIFY news, 'é'",
                "SELECT pg_notify('news', 'called')",
                "UNLISTEN *",
            ],
        )
    }

    fn lock(&mut self) -> String {
        self.one_of(
            "sql: locks",
            &[
                "SELECT pg_advisory_lock(7)",
                "SELECT pg_try_advisory_lock(7)",
                "SELECT pg_advisory_unlock(7)",
                "SELECT pg_advisory_unlock_all()",
                "LOCK TABLE strict",
            ],
        )
    }

    fn temporary(&mut self) -> String {
        self.one_of(
            "sql: temporary tables",
            &[
                "CREATE TEMP TABLE own (id int PRIMARY KEY, v text)",
                "CREATE TEMP TABLE own (id int) ON COMMIT DROP",
                "INSERT INTO own VALUES (1)",
                "SELECT count(*) FROM own",
                "DROP TABLE own",
                "DROP TABLE IF EXISTS own",
            ],
        )
    }

    pub fn fail(&mut self) -> String {
        let id = self.id();
        match self.dice.below(4) {
            0 => self.one_of(
                "sql: error in a read",
                &[
                    "SELECT 1/0",
                    "SELECT 'é', nope FROM t",
                    "SELECT nope('é', 1)",
                    "SELECT * FROM nowhere",
                    "FETCH 1 FROM nowhere",
                    "RELEASE nowhere",
                    "SELECT 'é'::int",
                ],
            ),
            1 => self.one_of(
                "sql: syntax error",
                &[
                    "SELEC 'é'",
                    "INSERT INTO t (id VALUES (1)",
                    "UPDATE t SET WHERE id = 1",
                    "SELECT 'not closed",
                    "INSERT INTO t VALUES (1, $1 $2)",
                    "/* not closed",
                    "INSERT INTO audit (what) VALUES ('é') RETURNING é é é",
                    "SELECT $$ not closed",
                ],
            ),
            2 => self.one_of(
                "sql: alone in its Query",
                &[
                    "VACUUM t",
                    "CREATE INDEX CONCURRENTLY ON t (v)",
                    "DROP DATABASE no_such_database",
                    "ALTER SYSTEM SET no.such = 1",
                ],
            ),
            _ => {
                let sql = match self.dice.below(7) {
                    0 => format!("INSERT INTO t (id, nope) VALUES ({id}, 'é')"),
                    1 => format!("INSERT INTO nowhere VALUES ({id})"),
                    2 => format!("INSERT INTO t (id, v) VALUES ({id}, 'é' || nope)"),
                    3 => "INSERT INTO t (id) VALUES ('é')".to_owned(),
                    4 => format!("UPDATE t SET n = 1/0, v = 'é' WHERE id < {id}"),
                    5 => format!("DELETE FROM t WHERE 'é' = id + {id}"),
                    _ => format!("INSERT INTO t (id, n) VALUES ({id}, 5000)"),
                };
                self.said("sql: error in a write", sql)
            }
        }
    }

    fn empty(&mut self) -> String {
        self.one_of(
            "sql: empty or comment only",
            &["", " ", "/* é */", "-- nothing", "/* /* nested */ */ "],
        )
    }
}

fn self_truncate(old: usize) -> &'static str {
    match old {
        1 => "TRUNCATE parent",
        2 => "TRUNCATE t",
        3 => "TRUNCATE audit, ruled RESTART IDENTITY",
        4 => "TRUNCATE parent CASCADE",
        5 => "TRUNCATE ONLY strict",
        _ => "TRUNCATE nowhere",
    }
}
