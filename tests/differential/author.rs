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
    /// Whether the parameters are in binary form.
    pub binary: bool,
}

impl Statement {
    pub fn plain(sql: impl Into<String>) -> Self {
        Self {
            sql: sql.into(),
            parameters: Vec::new(),
            refusal: None,
            copy: None,
            binary: false,
        }
    }
}

pub struct Author {
    pub dice: Dice,
    pub script: Script,
    pub next_tag: usize,
    pub next_context: usize,
    pub first_id: i64,
    pub prepared: Vec<&'static str>,
    /// Whether this script changes what a backslash means.
    pub backslashes: bool,
    /// Whether the statement has its group to itself. How texts are read the server tells only when a group is over, so
    /// behind what changes it, a RESET ALL or ROLLBACK included, nothing can be known in the same group.
    pub is_alone: bool,
    next_id: i64,
    in_block: bool,
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
    Dialect,
}

const SAVEPOINTS: &[&str] = &["a", "b", "c"];
const STRANGE: &[&str] = &[
    r#"{"who":"it's \"me\"","n":1.50}"#,
    r#"{"é€𝄞":"\u00e9","deep":{"a":[1,{"b":null}]}}"#,
    r#"{"SQL":"mine","x":1}"#,
    "{}",
    "",
];
const SYNTAX_ERROR: &str = "SELEC 1";

/// Whether some servers, or all of them, cannot parse this.
pub fn may_be_a_syntax_error(sql: &str) -> bool {
    sql == SYNTAX_ERROR || sql.contains("MERGE") || sql.contains(r"'\'")
}

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
            backslashes: false,
            is_alone: true,
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
            (6, Topic::Read),
            (if self.is_alone { 2 } else { 0 }, Topic::Dialect),
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
            Topic::Dialect => self.dialect(),
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

    pub fn commented(&mut self, sql: String) -> (String, Option<Map<String, Json>>) {
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
            "LISTEN news",
            "NOTIFY news, 'x'",
            "SELECT pg_notify('news', 'y')",
        ]))
    }

    /// What decides how the server reads the bytes of the statements behind it.
    fn dialect(&mut self) -> Statement {
        let local = self.dice.pick(&["", "", "LOCAL "]);
        if self.dice.chance(50) {
            self.backslashes = true;
            let value = self.dice.pick(&["off", "off", "on", "DEFAULT"]);
            Statement::plain(format!("SET {local}standard_conforming_strings TO {value}"))
        } else {
            let value = self.dice.pick(&["LATIN1", "UTF8", "SQL_ASCII", "DEFAULT"]);
            Statement::plain(format!("SET {local}client_encoding TO {value}"))
        }
    }
}

/// A string as SQL writes it, whatever a backslash means.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}
