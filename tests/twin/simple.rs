//! What is said in the simple protocol.

use super::message;
use super::session::{Act, Said};
use super::statements::Author;

/// `int4pl`, `int4div` and `textcat` (`pg_proc.dat`).
const INT4PL: u32 = 177;
const INT4DIV: u32 = 154;
const TEXTCAT: u32 = 1258;

/// Its timeout counts from the start of a Query.
const TOO_SLOW: &str = "story: statement_timeout";

const STORIES: &[(&str, &[&str])] = &[
    (
        TOO_SLOW,
        &[
            "ROLLBACK",
            "BEGIN; SET LOCAL statement_timeout = '60ms'",
            "WITH s AS (SELECT pg_sleep(9)) INSERT INTO t (id, v) SELECT {id}, 'slow' FROM s",
            "ROLLBACK",
        ],
    ),
    (
        "story: notifications",
        &[
            "LISTEN news",
            "INSERT INTO t (id) VALUES ({id})",
            "NOTIFY news, 'é'",
            "SELECT 1",
        ],
    ),
    (
        "story: notifications",
        &[
            "LISTEN news",
            "BEGIN",
            "SELECT pg_notify('news', 'x')",
            "INSERT INTO t (id) VALUES ({id})",
            "COMMIT",
        ],
    ),
    (
        "story: warnings with a position",
        &[
            "SET standard_conforming_strings = off",
            r"INSERT INTO audit (what) VALUES ('é'), ('back\\slash')",
            r"SELECT 'é'; INSERT INTO audit (what) VALUES ('it\'s') RETURNING 'x\ty'",
            "SET standard_conforming_strings = on",
        ],
    ),
    (
        "story: other encodings",
        &[
            "SET client_encoding = 'LATIN1'",
            "INSERT INTO audit (what) VALUES ('é è')",
            "SELECT 'é'; INSERT INTO audit (what, nope) VALUES ('é', 1)",
            "RESET client_encoding",
        ],
    ),
    (
        "story: other encodings",
        &[
            "SET client_encoding = 'SJIS'",
            "INSERT INTO audit (what) VALUES ('plain'); INSERT INTO audit (nope) VALUES ('x')",
            "SET client_encoding = 'UTF8'",
        ],
    ),
    (
        "story: no rights",
        &[
            "SET ROLE twin_reader",
            "INSERT INTO t (id) VALUES ({id})",
            "SELECT count(*) FROM t",
            "RESET ROLE",
        ],
    ),
    (
        "story: waits for a lock",
        &[
            "BEGIN",
            "TRUNCATE ruled",
            "PREPARE TRANSACTION '{seed}_lock'",
            "INSERT INTO ruled VALUES ({id})",
            "ROLLBACK PREPARED '{seed}_lock'",
        ],
    ),
    (
        "story: cursor",
        &[
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT id, v FROM t ORDER BY id FOR UPDATE",
            "FETCH 2 FROM c",
            "UPDATE t SET n = 11 WHERE CURRENT OF c",
            "FETCH ALL FROM c",
            "COMMIT",
        ],
    ),
    (
        "story: deferred failure",
        &[
            "BEGIN",
            "INSERT INTO t (id, parent) VALUES ({id}, 77)",
            "SELECT 1",
            "COMMIT",
        ],
    ),
    (
        "story: read only",
        &["BEGIN READ ONLY", "INSERT INTO t (id) VALUES ({id})", "ROLLBACK"],
    ),
    (
        "story: isolation",
        &[
            "BEGIN",
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "INSERT INTO t (id) VALUES ({id})",
            "COMMIT",
        ],
    ),
];

impl Author {
    /// A Query of some statements.
    pub fn query(&mut self) -> Act {
        let count = self.dice.weighted(&[(10, 1), (5, 2), (3, 3), (1, 6)]);
        let mut text = String::new();
        for index in 0..count {
            if index > 0 {
                text.push_str(
                    self.dice
                        .pick(&["; ", ";", ";\n", ";;", " ; -- é ;\n", "; /* ; */ "]),
                );
                // What reads `-- nothing` to the end of the line must not take the rest along.
                if self.dice.chance(3) {
                    text.push('\n');
                }
            }
            text.push_str(&self.statement());
            if text.ends_with("-- nothing") {
                text.push('\n');
            }
        }
        if self.dice.chance(20) {
            text.push(';');
        }
        if count > 1 {
            self.label("query: several statements");
        }
        self.said_text(&text)
    }

    /// A Query of this text, in bytes that are UTF-8 or, now and then, not.
    pub fn said_text(&mut self, text: &str) -> Act {
        let mut bytes = text.as_bytes().to_vec();
        // Of a context, that would be an error or a warning of the proxy's own.
        if self.dice.chance(2) && !text.to_lowercase().contains("bemi") {
            self.label("query: not in its encoding");
            let at = self.dice.below(bytes.len() + 1);
            let wrong = self.dice.pick(&[0x81_u8, 0xc3, 0xff, b'\\']);
            bytes.insert(at, wrong);
        }
        self.say(message::query(&bytes))
    }

    pub fn say(&mut self, bytes: Vec<u8>) -> Act {
        let labels = self.take_labels();
        Act::Say(Said { bytes, labels })
    }

    /// A Query of exactly these.
    fn exactly(&mut self, label: &'static str, text: &str) -> Act {
        self.label(label);
        self.say(message::query(text.as_bytes()))
    }

    /// Statements that belong together, each in its own Query or all in one.
    pub fn story(&mut self, acts: &mut Vec<Act>) {
        let (label, story) = self.dice.pick(STORIES);
        let id = self.id().to_string();
        let steps = story.iter().map(|step| {
            step.replace("{id}", &id)
                .replace("{seed}", &self.seed.to_string())
        });
        let steps: Vec<String> = steps.collect();
        if label == TOO_SLOW || self.dice.chance(70) {
            for step in steps {
                acts.push(self.exactly(label, &step));
            }
        } else {
            acts.push(self.exactly(label, &steps.join("; ")));
        }
    }

    /// A whole transaction, mostly without accident.
    pub fn whole_transaction(&mut self, acts: &mut Vec<Act>) {
        acts.push(self.exactly("unit: whole transaction", "BEGIN"));
        for _ in 0..self.dice.between(1, 3) {
            let sql = if self.dice.chance(80) {
                self.write()
            } else {
                self.statement()
            };
            acts.push(self.said_text(&sql));
        }
        let end = self.dice.pick(&[
            "COMMIT",
            "COMMIT",
            "ROLLBACK",
            "COMMIT; SELECT 1",
            "COMMIT AND CHAIN; ROLLBACK",
        ]);
        acts.push(self.exactly("unit: whole transaction", end));
    }

    pub fn function_call(&mut self) -> Act {
        let binary = self.dice.chance(50);
        let one: &[u8] = if binary { b"\0\0\0\x01" } else { b"1" };
        let zero: &[u8] = if binary { b"\0\0\0\0" } else { b"0" };
        let (label, bytes) = match self.dice.below(7) {
            0 => (
                "call: that works",
                message::function_call(INT4PL, &[Some(one), Some(one)], binary),
            ),
            1 => (
                "call: that works",
                message::function_call(TEXTCAT, &[Some("é".as_bytes()), Some(b"x")], binary),
            ),
            2 => (
                "call: with NULL",
                message::function_call(INT4PL, &[Some(one), None], binary),
            ),
            3 => (
                "call: that fails",
                message::function_call(INT4DIV, &[Some(one), Some(zero)], binary),
            ),
            4 => (
                "call: with wrong arguments",
                message::function_call(INT4PL, &[Some(one)], binary),
            ),
            5 => (
                "call: with wrong arguments",
                message::function_call(INT4PL, &[Some(b"x"), Some(one)], binary),
            ),
            _ => ("call: of nothing", message::function_call(1, &[], binary)),
        };
        self.label(label);
        self.say(bytes)
    }
}
