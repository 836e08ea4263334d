//! What a client may do at once with its context: one group of messages.

use bemi::wire::frontend::{self, Named};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use crate::support::conversation::query;

/// One thing that a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    Set,
    SetLocal,
    SetConfig,
    SetConfigLocal,
    Reset,
    DiscardAll,
    Begin,
    Commit,
    Rollback,
    Savepoint,
    RollbackTo,
    Write,
    WriteWithComment,
    WriteExtended,
    WriteNamed,
    /// Prepared once, executed ever after: only with a pooler that keeps track of it.
    WriteReused,
    SetAndWrite,
    Pipeline,
    Fail,
    FailExtended,
    FailBehindWrite,
    Terminate,
    Vanish,
    VanishUnheard,
}

use Move::*;

/// What is done in any order.
pub const ALL: &[Move] = &[
    Set,
    SetLocal,
    SetConfig,
    SetConfigLocal,
    Reset,
    DiscardAll,
    Begin,
    Begin,
    Begin,
    Commit,
    Commit,
    Rollback,
    Savepoint,
    RollbackTo,
    Write,
    Write,
    Write,
    WriteWithComment,
    WriteExtended,
    WriteExtended,
    WriteNamed,
    SetAndWrite,
    Pipeline,
    Fail,
    FailExtended,
    FailBehindWrite,
    Terminate,
    Vanish,
    VanishUnheard,
];

/// Short stories, each of which may come before or behind each other one.
pub const SCENES: &[&[Move]] = &[
    &[Set],
    &[Set, WriteExtended],
    &[Begin, SetLocal, Write, Commit],
    &[Begin, SetLocal, WriteExtended, Rollback],
    &[Begin, Set, WriteNamed, Rollback],
    &[
        Begin,
        SetConfigLocal,
        Savepoint,
        SetLocal,
        Write,
        RollbackTo,
        Write,
        Commit,
    ],
    &[Begin, SetLocal, Fail, Rollback],
    &[Begin, Set, FailExtended, Commit],
    &[Begin, Set, Write, Vanish],
    &[Begin, SetLocal, WriteExtended, Terminate],
    &[Set, Vanish],
    &[Set, Terminate],
    &[SetConfig, Fail],
    &[Set, DiscardAll],
    &[SetConfig, Reset],
    &[WriteWithComment],
    &[Pipeline],
    &[SetAndWrite, FailBehindWrite],
    &[SetConfig, VanishUnheard],
];

/// A client's group of messages.
pub struct Said {
    pub bytes: Vec<u8>,
    /// How many ReadyForQuery it gets.
    pub readies: usize,
}

/// Puts moves into messages, no context and no row like another.
pub struct Author {
    round: u64,
    count: usize,
    has_prepared: [bool; 2],
}

impl Author {
    pub fn new(round: u64) -> Self {
        Self {
            round,
            count: 0,
            has_prepared: [false; 2],
        }
    }

    fn next(&mut self) -> usize {
        self.count += 1;
        self.count
    }

    fn context(&mut self, client: usize) -> String {
        let (round, count) = (self.round, self.next());
        format!("{{\"client\":{client},\"round\":{round},\"count\":{count}}}")
    }

    fn insert(&mut self, client: usize, comment: Option<&str>) -> String {
        let (round, step) = (self.round, self.next());
        let column = comment.map_or("NULL".to_owned(), |comment| format!("'{comment}'"));
        let sql = format!(
            "INSERT INTO todo (round, client, step, comment) VALUES ({round}, {client}, {step}, {column})"
        );
        match comment {
            Some(comment) => format!("/*Bemi {comment} Bemi*/ {sql}"),
            None => sql,
        }
    }

    /// What a client says for a move; nothing where it only leaves.
    pub fn say(&mut self, client: usize, what: Move) -> Said {
        let mut bytes = Vec::new();
        let mut readies = 1;
        if matches!(what, DiscardAll | Terminate | Vanish | VanishUnheard) {
            self.has_prepared[client] = false;
        }
        match what {
            Set => bytes = query(&format!("SET bemi.context = '{}'", self.context(client))),
            SetLocal => bytes = query(&format!("SET LOCAL bemi.context = '{}'", self.context(client))),
            SetConfig => self.set_config(client, "false", &mut bytes),
            SetConfigLocal => self.set_config(client, "true", &mut bytes),
            Reset => bytes = query("RESET bemi.context"),
            DiscardAll => bytes = query("DISCARD ALL"),
            Begin => bytes = query("BEGIN"),
            Commit => bytes = query("COMMIT"),
            Rollback => bytes = query("ROLLBACK"),
            Savepoint => bytes = query("SAVEPOINT s"),
            RollbackTo => bytes = query("ROLLBACK TO s"),
            Write => bytes = query(&self.insert(client, None)),
            WriteWithComment => {
                let comment = format!("{{\"comment\":{}}}", self.next());
                bytes = query(&self.insert(client, Some(&comment)));
            }
            WriteExtended => {
                let sql = self.insert(client, None);
                group(&mut bytes, "", &sql, &[]);
                frontend::write_sync(&mut bytes);
            }
            WriteNamed => {
                let (round, count) = (self.round, self.next());
                let name = format!("once_{round}_{count}");
                let sql = self.insert(client, None);
                group(&mut bytes, &name, &sql, &[]);
                frontend::write_close(&mut bytes, Named::Statement(name.as_bytes()));
                frontend::write_sync(&mut bytes);
            }
            WriteReused => {
                readies += usize::from(self.reuse(client, &mut bytes));
            }
            SetAndWrite => {
                let (context, sql) = (self.context(client), self.insert(client, None));
                bytes = query(&format!("SET bemi.context = '{context}'; {sql}; SELECT 1"));
            }
            Pipeline => {
                self.set_config(client, "false", &mut bytes);
                let sql = self.insert(client, None);
                group(&mut bytes, "", &sql, &[]);
                frontend::write_sync(&mut bytes);
                bytes.extend(query(&self.insert(client, None)));
                readies = 3;
            }
            Fail => bytes = query("SELECT 1/0"),
            FailExtended => {
                group(&mut bytes, "", "SELECT 1/0", &[]);
                frontend::write_sync(&mut bytes);
            }
            FailBehindWrite => {
                let sql = self.insert(client, None);
                group(&mut bytes, "", &sql, &[]);
                group(&mut bytes, "", "SELECT 1/0", &[]);
                frontend::write_sync(&mut bytes);
            }
            VanishUnheard => bytes = query(&self.insert(client, None)),
            Terminate | Vanish => readies = 0,
        }
        Said { bytes, readies }
    }

    fn set_config(&mut self, client: usize, is_local: &str, bytes: &mut Vec<u8>) {
        let context = self.context(client);
        let sql = format!("SELECT set_config('bemi.context', $1, {is_local})");
        group(bytes, "", &sql, &[context.as_bytes()]);
        frontend::write_sync(bytes);
    }

    /// Prepares in a group of its own, unless it did; whether it had to.
    fn reuse(&mut self, client: usize, bytes: &mut Vec<u8>) -> bool {
        const TEXT: u32 = 25;
        let sql =
            "INSERT INTO todo (round, client, step) VALUES ($1::text::int, $2::text::int, $3::text::int)";
        let prepares = !std::mem::replace(&mut self.has_prepared[client], true);
        if prepares {
            frontend::write_close(bytes, Named::Statement(b"reused"));
            frontend::write_parse(bytes, "reused", sql, &[TEXT; 3]);
            frontend::write_sync(bytes);
        }
        let values = [
            self.round.to_string(),
            client.to_string(),
            self.next().to_string(),
        ];
        let values: Vec<_> = values.iter().map(|value| value.as_bytes()).collect();
        frontend::write_bind(bytes, "", "reused", &values);
        frontend::write_execute(bytes, "");
        frontend::write_sync(bytes);
        prepares
    }
}

/// Parse, Bind, Execute. The types of parameters are the server's to find out.
fn group(bytes: &mut Vec<u8>, statement: &str, sql: &str, values: &[&[u8]]) {
    frontend::write_parse(bytes, statement, sql, &[]);
    frontend::write_bind(bytes, "", statement, values);
    frontend::write_execute(bytes, "");
}

/// Any move of these.
pub fn any(random: &mut StdRng, moves: &[Move]) -> Move {
    moves[random.random_range(0..moves.len())]
}

/// Whether something happens that often.
pub fn chance(random: &mut StdRng, often: f64) -> bool {
    random.next_u32() as f64 / f64::from(u32::MAX) < often
}
