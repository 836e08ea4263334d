//! Makes up statements, one at a time, with a rough idea of where the session stands.
//!
//! The idea may be wrong, since statements fail; the server is the referee. It is there so that most COMMITs find a
//! transaction and most ROLLBACK TOs a savepoint.

use serde_json::{Map, Value as Json, json};

use super::dice::Dice;
use super::script::{Refusal, Script, Text};

/// One statement.
pub struct Statement {
    pub sql: String,
    pub parameters: Vec<Option<String>>,
    pub refusal: Option<Refusal>,
    /// What follows a COPY FROM STDIN.
    pub copy: Option<String>,
}

impl Statement {
    fn plain(sql: impl Into<String>) -> Self {
        Self {
            sql: sql.into(),
            parameters: Vec::new(),
            refusal: None,
            copy: None,
        }
    }
}

pub struct Author {
    pub dice: Dice,
    pub script: Script,
    next_id: i64,
    next_tag: usize,
    next_context: usize,
    first_id: i64,
    in_block: bool,
    prepared: Vec<&'static str>,
}

#[derive(Clone, Copy)]
enum Topic {
    Write,
    Set,
    SetConfig,
    OddSetConfig,
    Transaction,
    Savepoint,
    Discard,
    Prepare,
    Fail,
    Invalid,
    Read,
}

const SAVEPOINTS: &[&str] = &["a", "b", "c"];
const PREPARED: &[&str] = &["p", "q", "s1"];
const STRANGE: &[&str] = &[
    r#"{"who":"it's \"me\"","n":1.50}"#,
    r#"{"é€𝄞":"\u00e9","deep":{"a":[1,{"b":null}]}}"#,
    r#"{"SQL":"mine","x":1}"#,
    "{}",
    "",
];
const INVALID: &[&str] = &["nonsense", "[1]", "12", "null", r#"{"a":"#, r#"{"a":1} x"#];

pub const SYNTAX_ERROR: &str = "SELEC 1";

impl Author {
    pub fn new(seed: u64, first_id: i64) -> Self {
        let script = Script {
            seed,
            ..Script::default()
        };
        Self {
            dice: Dice::new(seed),
            script,
            next_id: first_id,
            next_tag: 0,
            next_context: 0,
            first_id,
            in_block: false,
            prepared: Vec::new(),
        }
    }

    /// A statement; `bound` if it may have parameters, which a Query cannot.
    pub fn statement(&mut self, bound: bool) -> Statement {
        let topic = self.dice.weighted(&[
            (32, Topic::Write),
            (18, Topic::Set),
            (12, Topic::SetConfig),
            (5, Topic::OddSetConfig),
            (14, Topic::Transaction),
            (if self.in_block { 14 } else { 1 }, Topic::Savepoint),
            (3, Topic::Discard),
            (6, Topic::Prepare),
            (6, Topic::Fail),
            (3, Topic::Invalid),
            (5, Topic::Read),
        ]);
        match topic {
            Topic::Write => self.write(bound),
            Topic::Set => self.set(),
            Topic::SetConfig => self.set_config(bound),
            Topic::OddSetConfig => self.odd_set_config(),
            Topic::Transaction => self.transaction(),
            Topic::Savepoint => self.savepoint(),
            Topic::Discard => {
                Statement::plain(self.dice.pick(&["DISCARD ALL", "DEALLOCATE ALL", "RESET ALL"]))
            }
            Topic::Prepare => self.prepare(),
            Topic::Fail => self.fail(),
            Topic::Invalid => self.invalid(bound),
            Topic::Read => self.read(),
        }
    }

    /// A statement that has neither parameters nor data behind it, and writes nothing.
    pub fn transactional(&mut self) -> Statement {
        match self.dice.below(3) {
            0 => self.transaction(),
            1 => self.savepoint(),
            _ => Statement::plain("DEALLOCATE ALL"),
        }
    }

    /// An id that no row of this script has yet.
    pub fn id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    /// A context that nothing else of this script sets, mostly.
    pub fn context(&mut self) -> String {
        if self.dice.chance(12) {
            return self.dice.pick(STRANGE).to_owned();
        }
        self.next_context += 1;
        let n = self.next_context;
        match self.dice.below(3) {
            0 => format!(r#"{{"n":{n}}}"#),
            1 => format!(r#"{{"n":{n},"u":"x"}}"#),
            _ => format!(r#"{{"n":{n},"m{n}":[{n}]}}"#),
        }
    }

    /// Remembers a text that writes, finished with its tag and maybe a comment.
    pub fn writing(&mut self, make: impl FnOnce(&str) -> String) -> String {
        self.next_tag += 1;
        let tag = format!("T{}", self.next_tag);
        let sql = make(&tag);
        let (sql, comment) = self.commented(sql);
        let text = Text {
            sql: sql.clone(),
            comment,
        };
        self.script.texts.insert(tag, text);
        sql
    }

    fn commented(&mut self, sql: String) -> (String, Option<Map<String, Json>>) {
        if !self.dice.chance(12) {
            return (sql, None);
        }
        self.next_context += 1;
        let key = self.dice.pick(&["n", "c"]);
        let comment = json!({ key: format!("comment {}", self.next_context) });
        let written = format!("/*Bemi {comment} Bemi*/");
        let sql = if self.dice.chance(50) {
            format!("{written} {sql}")
        } else {
            format!("{sql} {written}")
        };
        (sql, comment.as_object().cloned())
    }

    fn write(&mut self, bound: bool) -> Statement {
        let id = self.id();
        if bound && self.dice.chance(60) {
            let returning = self.dice.pick(&["", "", " RETURNING id, setting"]);
            let sql = self.writing(|tag| format!("INSERT INTO t (id, tag) VALUES ($1, '{tag}'){returning}"));
            return Statement {
                parameters: vec![Some(id.to_string())],
                ..Statement::plain(sql)
            };
        }
        let (first, touched) = (self.first_id, self.dice.between(1, 8) as i64);
        let explain = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF)";
        let shape = self.dice.below(14);
        if shape == 0 {
            let sql = self.writing(|_| "COPY t (id, tag) FROM STDIN".into());
            let tag = format!("T{}", self.next_tag);
            let second = self.id();
            return Statement {
                copy: Some(format!("{id}\t{tag}\n{second}\t{tag}\n")),
                ..Statement::plain(sql)
            };
        }
        let second = if shape == 1 { self.id() } else { id };
        let sql = self.writing(|tag| match shape {
            1 => format!("INSERT INTO t (id, tag) SELECT g, '{tag}' FROM generate_series({id}, {second}) g"),
            2 => format!("WITH w AS (INSERT INTO t (id, tag) VALUES ({id}, '{tag}') RETURNING id) SELECT id FROM w"),
            3 => format!("{explain} INSERT INTO t (id, tag) VALUES ({id}, '{tag}')"),
            4 => format!("MERGE INTO t USING (VALUES ({id})) v (x) ON t.id = v.x WHEN NOT MATCHED THEN INSERT (id, tag) VALUES (v.x, '{tag}')"),
            5 | 6 => format!("UPDATE t SET setting = current_setting('bemi.context', true), tag = '{tag}', execution = NULL WHERE id > {first} AND id <= {}", first + touched),
            7 => format!("INSERT INTO t (id, tag) SELECT {id}, '{tag}' WHERE false"),
            8 => format!("INSERT INTO t (id, tag, parent) VALUES ({id}, '{tag}', -1)"),
            9 => format!("INSERT INTO t (id, tag, setting) VALUES ({id}, '{tag}', current_setting('bemi.context', true)) RETURNING setting"),
            _ => format!("INSERT INTO t (id, tag) VALUES ({id}, '{tag}')"),
        });
        Statement::plain(sql)
    }

    pub fn set(&mut self) -> Statement {
        let scope = self
            .dice
            .pick(&["", "", "SESSION ", "LOCAL ", "LOCAL ", "LOCAL "]);
        let sql = match self.dice.below(10) {
            0 => "RESET bemi.context".to_owned(),
            1 => format!("SET {scope}bemi.context TO DEFAULT"),
            2 => format!("SET {scope}bemi.context FROM CURRENT"),
            _ => {
                let name = self
                    .dice
                    .pick(&["bemi.context", "Bemi.Context", "\"bemi.context\""]);
                let equals = self.dice.pick(&["=", "TO"]);
                format!("SET {scope}{name} {equals} {}", literal(&self.context()))
            }
        };
        Statement::plain(sql)
    }

    fn set_config(&mut self, bound: bool) -> Statement {
        let (value, is_null) = (self.context(), self.dice.chance(8));
        let local = self.dice.chance(50);
        if bound && self.dice.chance(50) {
            let value = (!is_null).then_some(value);
            if self.dice.chance(50) {
                return Statement {
                    parameters: vec![value],
                    ..Statement::plain(format!("SELECT set_config('bemi.context', $1, {local})"))
                };
            }
            return Statement {
                parameters: vec![Some("bemi.context".into()), value, Some(local.to_string())],
                ..Statement::plain("SELECT set_config($1, $2, $3)")
            };
        }
        let value = if is_null {
            "NULL".to_owned()
        } else {
            literal(&value)
        };
        let n = self.next_context;
        Statement::plain(match self.dice.below(5) {
            0 if !is_null => format!("SELECT set_config('bemi.context', {value} || '', {local})"),
            1 => {
                format!("SELECT set_config('bemi.context', json_build_object('n', {n} * 100)::text, {local})")
            }
            2 => format!("SELECT pg_catalog.set_config('bemi.context', {value}::text, '{local}')"),
            _ => format!("SELECT set_config('bemi.context', {value}, {local})"),
        })
    }

    /// Calls that do not run once, or not with the value that they name.
    fn odd_set_config(&mut self) -> Statement {
        let (value, other) = (literal(&self.context()), literal(&self.context()));
        let local = self.dice.chance(50);
        let explain = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF)";
        let call = format!("set_config('bemi.context', {value}, {local})");
        Statement::plain(match self.dice.below(11) {
            0 => format!("SELECT {call} WHERE false"),
            1 => format!("SELECT {call} FROM t WHERE id < 0"),
            2 => format!(
                "SELECT set_config('bemi.context', '{{\"g\":' || g || '}}', {local}) FROM generate_series(1, 3) g"
            ),
            3 => format!("SELECT {call}, set_config('bemi.context', {other}, {local})"),
            4 => format!("{explain} SELECT {call}"),
            5 => format!("EXPLAIN (COSTS OFF) SELECT {call}"),
            6 => format!("WITH c AS MATERIALIZED (SELECT {call}) SELECT 1"),
            7 => format!("SELECT length({call})"),
            8 => format!("SELECT set_config('bemi.' || 'context', {value}, {local})"),
            9 => format!("SELECT set_config('bemi.other', {value}, {local})"),
            _ => format!("SELECT CASE WHEN true THEN 'x' ELSE {call} END"),
        })
    }

    fn transaction(&mut self) -> Statement {
        let end = self.dice.weighted(&[
            (5, "COMMIT"),
            (1, "END"),
            (3, "ROLLBACK"),
            (1, "ABORT WORK"),
            (1, "COMMIT AND CHAIN"),
            (1, "ROLLBACK AND CHAIN"),
        ]);
        let begin = self.dice.pick(&[
            "BEGIN",
            "START TRANSACTION",
            "BEGIN ISOLATION LEVEL REPEATABLE READ",
        ]);
        if self.in_block == self.dice.chance(92) {
            self.in_block = end.contains("CHAIN");
            Statement::plain(end)
        } else {
            self.in_block = true;
            Statement::plain(begin)
        }
    }

    fn savepoint(&mut self) -> Statement {
        let name = self.dice.pick(SAVEPOINTS);
        Statement::plain(match self.dice.below(10) {
            0..5 => format!("SAVEPOINT {name}"),
            5..8 => format!("ROLLBACK TO {name}"),
            _ => format!("RELEASE SAVEPOINT {name}"),
        })
    }

    fn prepare(&mut self) -> Statement {
        let name = self.dice.pick(PREPARED);
        if self.prepared.contains(&name) && self.dice.chance(75) {
            return self.execute(name);
        }
        self.prepared.push(name);
        match self.dice.below(6) {
            0 => Statement::plain(format!("DEALLOCATE {name}")),
            1 => Statement::plain(format!("PREPARE {name} (int) AS SELECT $1 + 1, 'p'")),
            2 => Statement::plain(format!(
                "PREPARE {name} (text, bigint) AS SELECT set_config('bemi.context', $1, $2 > 0)"
            )),
            _ => {
                self.next_tag += 1;
                let tag = format!("T{}", self.next_tag);
                let insert = format!("INSERT INTO t (id, note, execution, tag) VALUES ($1, $2, $3, '{tag}')");
                let (insert, comment) = self.commented(insert);
                let sql = format!("PREPARE {name} (bigint, text, bigint) AS {insert}");
                let text = Text {
                    sql: sql.clone(),
                    comment,
                };
                self.script.texts.insert(tag, text);
                Statement::plain(sql)
            }
        }
    }

    /// The wrong number of arguments is an error, so each thing to prepare has another number or kind of them.
    pub fn execute(&mut self, name: &str) -> Statement {
        match self.dice.below(7) {
            0 => {
                let value = literal(&self.context());
                Statement::plain(format!("EXECUTE {name} ({value})"))
            }
            1 => Statement::plain(format!("EXECUTE {name}")),
            2 => {
                let (value, local) = (literal(&self.context()), self.dice.below(2));
                Statement::plain(format!("EXECUTE {name} ({value}, {local})"))
            }
            _ => {
                let id = self.id();
                let (sql, comment) = self.commented(format!("EXECUTE {name} ({id}, 'note', {id})"));
                let text = Text {
                    sql: sql.clone(),
                    comment,
                };
                self.script.executions.insert(id, text);
                Statement::plain(sql)
            }
        }
    }

    fn fail(&mut self) -> Statement {
        let id = self.id();
        let shape = self.dice.below(10);
        if shape < 5 {
            return Statement::plain(self.dice.pick(&[
                "SELECT 1/0",
                SYNTAX_ERROR,
                "SELECT 'é', no_column FROM t",
                "RELEASE nowhere",
                "EXECUTE nothing (1)",
                "SELECT set_config('bemi.context')",
                "SET bemi.context = '{}', '{}'",
                "SET CONSTRAINTS ALL IMMEDIATE",
                "VACUUM t",
            ]));
        }
        let sql = self.writing(|tag| match shape {
            5 | 6 => format!("INSERT INTO t (id, tag) VALUES (0, '{tag}')"),
            7 => format!("INSERT INTO t (id, tag) VALUES ({id}, '{tag}' || 1/0)"),
            8 => format!("INSERT INTO t (id, tag, missing) VALUES ({id}, '{tag}', 1)"),
            _ => format!(
                "INSERT INTO t (id, tag) SELECT 100 / ({id} - x), '{tag}' FROM generate_series({id}, {id}) x"
            ),
        });
        Statement::plain(sql)
    }

    fn invalid(&mut self, bound: bool) -> Statement {
        let value = self.dice.pick(INVALID);
        let local = self.dice.chance(50);
        let scope = if local { "LOCAL " } else { "" };
        let refused = |sql: String, refusal| Statement {
            refusal: Some(refusal),
            ..Statement::plain(sql)
        };
        let quoted = literal(value);
        match self.dice.below(4) {
            0 if bound => Statement {
                parameters: vec![Some(value.to_owned())],
                ..refused(
                    format!("SELECT set_config('bemi.context', $1, {local})"),
                    Refusal::Instead,
                )
            },
            1 => refused(
                format!("SELECT set_config('bemi.context', {quoted}, {local})"),
                Refusal::Instead,
            ),
            2 => refused(
                format!("SELECT set_config('bemi.context', {quoted} || '', {local})"),
                Refusal::Behind,
            ),
            _ => refused(format!("SET {scope}bemi.context = {quoted}"), Refusal::Instead),
        }
    }

    fn read(&mut self) -> Statement {
        Statement::plain(self.dice.pick(&[
            "SELECT current_setting('bemi.context', true)",
            "SHOW bemi.context",
            "SELECT name, from_sql FROM pg_prepared_statements WHERE name NOT LIKE 'referee%' ORDER BY name",
            "SELECT name, statement FROM pg_cursors WHERE name NOT LIKE 'referee%' ORDER BY name",
            "SELECT 1, 'x' -- read",
            "SELECT generate_series(1, 3)",
            "",
            "/* nothing */",
        ]))
    }
}

/// A string as SQL writes it.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
