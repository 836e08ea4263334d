//! Statements that write, and what prepares and executes them.

use super::author::{Author, Statement, literal};
use super::generate::IDS;
use super::script::Text;
use crate::support::version;

const PREPARED: &[&str] = &["p", "q", "s1"];

/// Runs what it explains, and prints nothing that differs from one run to the next.
pub const EXPLAIN: &str = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF)";

/// Statements that only one of the two settings of `standard_conforming_strings` takes for one.
const BACKSLASHED: &[&str] = &[r"'\'';'", r"'\';'"];

impl Author {
    pub fn write(&mut self, bound: bool) -> Statement {
        let id = self.id();
        if bound && self.dice.chance(60) {
            let returning = self.dice.pick(&["", "", " RETURNING id, setting"]);
            let sql = self.writing(|tag| format!("INSERT INTO t (id, tag) VALUES ($1, '{tag}'){returning}"));
            return Statement {
                parameters: vec![Some(id.to_string())],
                ..Statement::plain(sql)
            };
        }
        if self.dice.chance(15) {
            return self.write_again();
        }
        if self.backslashes && self.is_alone && self.dice.chance(40) {
            let note = self.dice.pick(BACKSLASHED);
            let sql =
                self.writing(|tag| format!("INSERT INTO t (id, tag, note) VALUES ({id}, '{tag}', {note})"));
            return Statement::plain(sql);
        }
        let (first, touched) = (self.first_id, self.dice.between(1, 8) as i64);
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
            3 => format!("{EXPLAIN} INSERT INTO t (id, tag) VALUES ({id}, '{tag}')"),
            // Where there is none, an INSERT.
            4 if version::has(crate::support::cluster(), "MERGE", 15) => format!("MERGE INTO t USING (VALUES ({id})) v (x) ON t.id = v.x WHEN NOT MATCHED THEN INSERT (id, tag) VALUES (v.x, '{tag}')"),
            5 | 6 => format!("UPDATE t SET setting = current_setting('bemi.context', true), tag = '{tag}', execution = NULL WHERE id > {first} AND id <= {}", first + touched),
            7 => format!("INSERT INTO t (id, tag) SELECT {id}, '{tag}' WHERE false"),
            8 => format!("INSERT INTO t (id, tag, parent) VALUES ({id}, '{tag}', -1)"),
            9 => format!("INSERT INTO t (id, tag, setting) VALUES ({id}, '{tag}', current_setting('bemi.context', true)) RETURNING setting"),
            _ => format!("INSERT INTO t (id, tag) VALUES ({id}, '{tag}')"),
        });
        Statement::plain(sql)
    }

    /// The same text each time, so that the message is the same as the one before, where the context is.
    fn write_again(&mut self) -> Statement {
        let sql = format!(
            "INSERT INTO t (id, tag) SELECT greatest(max(id), {}) + 1, 'again' FROM t",
            self.first_id + IDS / 2
        );
        let text = Text {
            sql: sql.clone(),
            comment: None,
        };
        self.script.texts.insert("again".into(), text);
        Statement::plain(sql)
    }

    /// A DO writes like any other statement where a block is open, and only there: so one is opened with it.
    pub fn do_in_a_block(&mut self) -> [String; 3] {
        let id = self.id();
        let write = self.writing(|tag| {
            format!("DO $$ BEGIN INSERT INTO t (id, tag) VALUES ({id}, '{tag}'); RAISE NOTICE 'done'; END $$")
        });
        [
            "BEGIN".into(),
            write,
            self.dice.pick(&["COMMIT", "ROLLBACK"]).into(),
        ]
    }

    pub fn prepare(&mut self) -> Statement {
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
}
