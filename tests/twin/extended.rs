//! What is said in the extended protocol.

use super::message::{self, Bound};
use super::session::Act;
use super::statements::Author;

/// `int4` and `text` (`pg_type.dat`).
const INT4: u32 = 23;
const TEXT: u32 = 25;

/// Statements are named after how many parameters they take, mostly, so that what is bound later fits.
const PLAIN: &[&str] = &["", "", "", "s0", "s1"];
const WITH_ONE: &[&str] = &["", "", "i1", "i2"];
const PORTALS: &[&str] = &["", "", "", "", "p", "p2"];

/// Each takes one number.
const NUMBERED: &[&str] = &[
    "INSERT INTO t (id, v) VALUES ($1, 'é bound')",
    "INSERT INTO t (id, v) VALUES ($1, 'bound') RETURNING id, v",
    "INSERT INTO t (id) SELECT generate_series($1::int, $1::int + 3) RETURNING id",
    "SELECT id, v, n FROM t WHERE id < $1 ORDER BY id",
    "SELECT generate_series(1, $1::int) AS g, 'row'",
    "UPDATE t SET n = $1 WHERE id <= 3",
    "DELETE FROM t WHERE id = $1 RETURNING *",
    "SELECT $1::int / 0",
    "INSERT INTO strict VALUES ($1, 9)",
    "WITH w AS (UPDATE t SET v = v || '!' WHERE id <= $1::int RETURNING id) SELECT count(*) FROM w",
    "SELECT set_config('bemi.context', '{\"p\":' || $1::int || '}', false)",
    "SELECT writes($1)",
];

impl Author {
    /// A statement from Parse to Execute, and maybe beyond.
    pub fn extended(&mut self, acts: &mut Vec<Act>) {
        let portal = self.dice.pick(PORTALS);
        if self.dice.chance(45) {
            let statement = self.dice.pick(WITH_ONE);
            let sql = self.dice.pick(NUMBERED);
            self.parse(statement, sql, acts);
            self.now_and_then_describe(statement, acts);
            self.bind_number(portal, statement, acts);
        } else {
            let statement = self.dice.pick(PLAIN);
            let sql = self.statement();
            self.parse(statement, &sql, acts);
            self.now_and_then_describe(statement, acts);
            let bound = self.no_parameters();
            acts.push(self.say(message::bind(portal, statement, &bound)));
        }
        self.run(portal, acts);
    }

    fn parse(&mut self, statement: &str, sql: &str, acts: &mut Vec<Act>) {
        if !statement.is_empty() && self.dice.chance(70) {
            self.label("extended: Close before Parse");
            acts.push(self.say(message::named(b'C', b'S', statement)));
        }
        self.label(if statement.is_empty() {
            "extended: unnamed statement"
        } else {
            "extended: named statement"
        });
        let types: &[u32] = match self.dice.below(12) {
            0 => &[INT4],
            1 => &[0],
            2 => &[TEXT, INT4],
            _ => &[],
        };
        if !types.is_empty() {
            self.label("extended: Parse with types");
        }
        acts.push(self.say(message::parse(statement, sql.as_bytes(), types)));
    }

    fn now_and_then_describe(&mut self, statement: &str, acts: &mut Vec<Act>) {
        if self.dice.chance(25) {
            self.label("extended: Describe statement");
            acts.push(self.say(message::named(b'D', b'S', statement)));
        }
    }

    fn bind_number(&mut self, portal: &str, statement: &str, acts: &mut Vec<Act>) {
        let id = self.id();
        let mut bound = Bound {
            parameters: vec![Some(id.to_string().into_bytes())],
            result_formats: self.result_formats(),
            ..Bound::default()
        };
        match self.dice.below(14) {
            0..3 => {
                self.label("extended: binary parameters");
                bound.parameters = vec![Some(id.to_be_bytes().to_vec())];
                bound.parameter_formats = vec![1];
            }
            3 => {
                self.label("extended: wrong parameter");
                bound.parameters = vec![Some(
                    self.dice
                        .pick(&[&b"x"[..], b"", b"\xff", b"99999999999"])
                        .to_vec(),
                )];
                bound.parameter_formats = self.dice.pick(&[&[][..], &[1]]).to_vec();
            }
            4 => {
                self.label("extended: wrong number of parameters");
                let count = self.dice.pick(&[0, 2, 3]);
                bound.parameters = vec![Some(b"1".to_vec()); count];
            }
            5 => {
                self.label("extended: wrong number of formats");
                bound.parameter_formats = vec![0, 0, 1];
            }
            6 => {
                self.label("extended: NULL parameter");
                bound.parameters = vec![None];
            }
            7 => bound.parameter_formats = vec![0],
            _ => {}
        }
        if bound.parameters.is_empty() {
            bound.parameter_formats.clear();
        }
        acts.push(self.say(message::bind(portal, statement, &bound)));
    }

    fn no_parameters(&mut self) -> Bound {
        Bound {
            result_formats: self.result_formats(),
            ..Bound::default()
        }
    }

    fn result_formats(&mut self) -> Vec<u16> {
        match self.dice.below(12) {
            0 | 1 => {
                self.label("extended: binary results");
                vec![1]
            }
            2 => vec![0],
            3 => {
                self.label("extended: several result formats");
                vec![0, 1]
            }
            4 if self.dice.chance(30) => {
                self.label("extended: result format that is none");
                vec![7]
            }
            _ => Vec::new(),
        }
    }

    /// Executes a portal, at once or in parts.
    fn run(&mut self, portal: &str, acts: &mut Vec<Act>) {
        if self.dice.chance(30) {
            self.label("extended: Describe portal");
            acts.push(self.say(message::named(b'D', b'P', portal)));
        }
        let times = self.dice.weighted(&[(8, 1), (2, 2), (1, 4)]);
        for time in 0..times {
            let rows = self.dice.weighted(&[(6, 0), (2, 1), (1, 2), (1, 1000), (1, -1)]);
            self.label(match (rows, time) {
                (0 | -1, 0) => "extended: Execute",
                (_, 0) => "extended: Execute with a row limit",
                _ => "extended: Execute again",
            });
            acts.push(self.say(message::execute(portal, rows)));
            if self.dice.chance(8) {
                self.now_and_then_flush(acts);
            }
        }
        if self.dice.chance(15) {
            self.close_portal(portal, acts);
            if self.dice.chance(20) {
                self.label("extended: closed twice");
                self.close_portal(portal, acts);
            }
        }
    }

    fn close_portal(&mut self, portal: &str, acts: &mut Vec<Act>) {
        self.label("extended: Close portal");
        acts.push(self.say(message::named(b'C', b'P', portal)));
    }

    fn now_and_then_flush(&mut self, acts: &mut Vec<Act>) {
        self.label("extended: Flush in a group");
        acts.push(self.say(message::flush()));
        if self.dice.chance(60) {
            acts.push(Act::Wait);
        }
    }

    /// Something with a name that may or may not be there, by itself.
    pub fn loose(&mut self, acts: &mut Vec<Act>) {
        let statement = self.dice.pick(&["", "s0", "s1", "i1", "i2", "q", "r", "none"]);
        let portal = self.dice.pick(&["", "p", "p2", "c", "d", "none"]);
        match self.dice.below(9) {
            0 => {
                self.label("loose: Describe statement");
                acts.push(self.say(message::named(b'D', b'S', statement)));
            }
            1 => {
                self.label("loose: Describe portal");
                acts.push(self.say(message::named(b'D', b'P', portal)));
            }
            2 => {
                self.label("loose: Close statement");
                acts.push(self.say(message::named(b'C', b'S', statement)));
            }
            3 => self.close_portal(portal, acts),
            4 | 5 => {
                self.label("loose: Execute");
                let rows = self.dice.pick(&[0, 1]);
                acts.push(self.say(message::execute(portal, rows)));
            }
            6 | 7 => {
                self.label("loose: Bind and Execute");
                if matches!(statement, "i1" | "i2" | "q") {
                    self.bind_number(portal, statement, acts);
                } else {
                    let bound = self.no_parameters();
                    acts.push(self.say(message::bind(portal, statement, &bound)));
                }
                self.run(portal, acts);
            }
            _ => {
                self.label("loose: Flush");
                acts.push(self.say(message::flush()));
            }
        }
    }

    /// Texts that no Parse takes.
    pub fn parse_of_several(&mut self, acts: &mut Vec<Act>) {
        self.label("extended: several statements in a Parse");
        let (first, second) = (self.statement(), self.statement());
        let text = format!("{first}; {second}");
        let name = self.dice.pick(PLAIN);
        acts.push(self.say(message::parse(name, text.as_bytes(), &[])));
    }

    pub fn sync(&mut self, acts: &mut Vec<Act>) {
        acts.push(self.say(message::sync()));
    }

    /// Portals of one transaction that are run in turns.
    pub fn portals(&mut self, acts: &mut Vec<Act>) {
        let portals = ["p", "p2", "p3"];
        for portal in portals {
            let sql = self.dice.pick(NUMBERED);
            self.parse("", sql, acts);
            let id = self.id();
            let bound = Bound {
                parameters: vec![Some(id.to_string().into_bytes())],
                ..Bound::default()
            };
            acts.push(self.say(message::bind(portal, "", &bound)));
        }
        for _ in 0..self.dice.between(2, 6) {
            let portal = self.dice.pick(&portals);
            self.label("extended: portals in turns");
            let rows = self.dice.pick(&[0, 1, 2]);
            acts.push(self.say(message::execute(portal, rows)));
        }
    }
}
