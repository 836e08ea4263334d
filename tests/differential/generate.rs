//! Makes up a whole script: statements, in every way in which a client can speak them.

use super::author::{self, Author, Statement};
use super::script::{Message, Parts, Refusal, Script, Sql, Step};

/// The script of this seed. Its rows have ids above `first_id`, fewer than [`IDS`] of them.
pub fn script(seed: u64, first_id: i64) -> Script {
    let mut speaker = Speaker {
        author: Author::new(seed, first_id),
        named: Vec::new(),
    };
    speaker.startup();
    for _ in 0..speaker.author.dice.between(3, 12) {
        speaker.speak();
    }
    speaker.last_writes();
    speaker.author.script
}

/// More ids than one script can use.
pub const IDS: i64 = 1000;

struct Speaker {
    author: Author,
    /// Named statements that were sent, and what to bind to them.
    named: Vec<(String, Shape)>,
}

#[derive(Clone, Copy)]
enum Style {
    Query,
    LongQuery,
    Extended,
    Pipeline,
    ManyPipelines,
    Mixed,
    Flushed,
    Named,
    Portals,
    Cursor,
    TwoPhase,
    Block,
    FunctionCall,
}

/// The parameters of a named statement; each shape has another number of them, so that what is bound to the
/// wrong statement fails.
#[derive(Clone, Copy)]
enum Shape {
    Nothing,
    Context,
    Write,
}

const NAMES: &[&str] = &["s1", "s2", "s3"];

/// Of prepared statements that no EXECUTE may run: the server does not survive a ROLLBACK TO in there.
const TRANSACTIONAL: &[&str] = &["n1", "n2"];

impl Speaker {
    fn startup(&mut self) {
        let dice = &mut self.author.dice;
        let parameter = match dice.below(24) {
            0 => ("bemi.context", r#"{"from":"startup"}"#),
            1 => ("options", r#"-c bemi.context={"from":"options"}"#),
            2 => ("options", r"-c bemi.context={}"),
            _ => return,
        };
        self.author.script.startup = vec![(parameter.0.to_owned(), parameter.1.to_owned())];
    }

    fn speak(&mut self) {
        let style = self.author.dice.weighted(&[
            (22, Style::Query),
            (18, Style::LongQuery),
            (14, Style::Extended),
            (10, Style::Pipeline),
            (12, Style::ManyPipelines),
            (10, Style::Mixed),
            (6, Style::Flushed),
            (8, Style::Named),
            (4, Style::Portals),
            (3, Style::Cursor),
            (1, Style::TwoPhase),
            (2, Style::Block),
            (1, Style::FunctionCall),
        ]);
        let mut messages = Vec::new();
        match style {
            Style::Query => self.query(1, &mut messages),
            Style::LongQuery => {
                let n = self.author.dice.between(2, 6);
                self.query(n, &mut messages);
            }
            Style::Extended => self.group(1, &mut messages),
            Style::Pipeline => {
                let n = self.author.dice.between(2, 5);
                self.group(n, &mut messages);
            }
            Style::ManyPipelines => {
                for _ in 0..self.author.dice.between(2, 5) {
                    let n = self.author.dice.weighted(&[(4, 1), (2, 2), (1, 3)]);
                    self.group(n, &mut messages);
                }
            }
            Style::Mixed => {
                for _ in 0..self.author.dice.between(2, 5) {
                    let n = self.author.dice.weighted(&[(3, 1), (2, 2), (1, 3)]);
                    if self.author.dice.chance(50) {
                        self.query(n, &mut messages);
                    } else if self.author.dice.chance(70) {
                        self.group(n, &mut messages);
                    } else {
                        self.named(&mut messages);
                        messages.push(Message::Sync);
                    }
                }
            }
            Style::Flushed => return self.flushed(),
            Style::Named => {
                for _ in 0..self.author.dice.between(1, 3) {
                    self.named(&mut messages);
                }
                messages.push(Message::Sync);
            }
            Style::Cursor => return self.cursor(),
            Style::TwoPhase => {
                let id = self.author.id();
                let end = self.author.dice.pick(&["COMMIT", "ROLLBACK"]);
                messages.push(lone_query(format!("PREPARE TRANSACTION 'g{id}'")));
                messages.push(lone_query(format!("{end} PREPARED 'g{id}'")));
            }
            Style::Block => {
                let block = self.author.do_in_a_block();
                messages.push(query_of(block));
            }
            Style::FunctionCall => messages.push(Message::FunctionCall),
            Style::Portals => {
                self.portals(&mut messages);
                messages.push(Message::Sync);
            }
        }
        self.step(messages);
    }

    /// Shows where the session stands now, and once its transaction is over.
    fn last_writes(&mut self) {
        for ahead in ["", "ROLLBACK"] {
            let mut messages = vec![Message::Sync];
            if !ahead.is_empty() {
                messages.push(lone_query(ahead.into()));
            }
            let write = self.author.write(true);
            self.extended(write, &mut messages);
            messages.push(Message::Sync);
            self.step(messages);
        }
    }

    fn step(&mut self, messages: Vec<Message>) {
        let dice = &mut self.author.dice;
        let parts = dice.chance(10).then(|| Parts {
            bytes: dice.between(1, 60),
            pause: dice.pick(&[0, 0, 100]),
        });
        self.author.script.steps.push(Step { messages, parts });
    }

    fn query(&mut self, statements: usize, messages: &mut Vec<Message>) {
        let mut copies = Vec::new();
        let mut query = Vec::new();
        for _ in 0..statements {
            let statement = self.author.statement(false);
            copies.extend(statement.copy);
            let (text, refusal) = (statement.sql, statement.refusal);
            // A line comment would take the rest along.
            let text = text.trim_end_matches(" -- read").to_owned();
            query.push(Sql { text, refusal });
        }
        if query.iter().any(|sql| sql.refusal.is_some()) {
            // What the referee puts into the text would move the position of a syntax error.
            query.retain(|sql| !author::may_be_a_syntax_error(&sql.text));
        }
        messages.push(Message::Query(query));
        for data in copies {
            self.copy(data, messages);
        }
    }

    fn copy(&mut self, data: String, messages: &mut Vec<Message>) {
        messages.push(Message::CopyData(data));
        messages.push(if self.author.dice.chance(85) {
            Message::CopyDone
        } else {
            Message::CopyFail
        });
    }

    /// Unnamed statements, and the Sync that ends them.
    fn group(&mut self, statements: usize, messages: &mut Vec<Message>) {
        for _ in 0..statements {
            self.author.is_alone = statements == 1;
            let statement = self.author.statement(true);
            self.extended(statement, messages);
        }
        self.author.is_alone = true;
        messages.push(Message::Sync);
    }

    fn extended(&mut self, statement: Statement, messages: &mut Vec<Message>) {
        messages.push(Message::Parse {
            name: String::new(),
            sql: statement.sql,
        });
        if self.author.dice.chance(20) {
            messages.push(Message::DescribeStatement(String::new()));
        }
        let portal = self.author.dice.pick(&["", "", "", "x"]);
        messages.push(Message::Bind {
            portal: portal.to_owned(),
            statement: String::new(),
            parameters: statement.parameters,
            binary: statement.binary,
        });
        if self.author.dice.chance(30) {
            messages.push(Message::DescribePortal(portal.to_owned()));
        }
        let rows = self.author.dice.pick(&[0, 0, 0, 1, 2]);
        self.execute(portal, rows, statement.refusal, messages);
        if let Some(data) = statement.copy {
            self.copy(data, messages);
        }
        if rows > 0 && statement.refusal.is_none() && self.author.dice.chance(50) {
            self.execute(portal, 0, None, messages);
        }
        if !portal.is_empty() {
            messages.push(Message::ClosePortal(portal.to_owned()));
        }
    }

    fn execute(&mut self, portal: &str, rows: i32, refusal: Option<Refusal>, messages: &mut Vec<Message>) {
        messages.push(Message::Execute {
            portal: portal.to_owned(),
            rows,
            refusal,
        });
    }

    /// Some of a group, its replies, and only then the rest.
    fn flushed(&mut self) {
        self.author.is_alone = false;
        for _ in 0..self.author.dice.between(1, 3) {
            let mut messages = Vec::new();
            for _ in 0..self.author.dice.between(1, 2) {
                let statement = self.author.statement(true);
                self.extended(statement, &mut messages);
            }
            messages.push(Message::Flush);
            self.step(messages);
        }
        let mut messages = Vec::new();
        if self.author.dice.chance(50) {
            let statement = self.author.statement(true);
            self.extended(statement, &mut messages);
        }
        messages.push(Message::Sync);
        self.author.is_alone = true;
        self.step(messages);
    }

    /// Prepares, executes or closes a named statement.
    fn named(&mut self, messages: &mut Vec<Message>) {
        let known = self.named.len();
        if known == 0 || self.author.dice.chance(35) {
            return self.parse_named(messages);
        }
        let at = self.author.dice.below(known);
        let (name, shape) = self.named[at].clone();
        if self.author.dice.chance(10) && NAMES.contains(&name.as_str()) {
            let statement = self.author.execute(&name);
            return self.extended(statement, messages);
        }
        if self.author.dice.chance(12) {
            messages.push(Message::CloseStatement(name));
            self.named.remove(at);
            return;
        }
        let portal = self.author.dice.pick(&["", "", "y"]);
        let parameters = self.parameters(shape);
        messages.push(Message::Bind {
            portal: portal.to_owned(),
            statement: name,
            parameters,
            binary: false,
        });
        self.execute(portal, 0, None, messages);
        if !portal.is_empty() && self.author.dice.chance(80) {
            messages.push(Message::ClosePortal(portal.to_owned()));
        }
    }

    fn parse_named(&mut self, messages: &mut Vec<Message>) {
        let mut name = self.author.dice.pick(NAMES).to_owned();
        let (shape, sql) = match self.author.dice.below(7) {
            0 => {
                name = self.author.dice.pick(TRANSACTIONAL).to_owned();
                (Shape::Nothing, self.author.transactional().sql)
            }
            1 => (Shape::Nothing, self.author.set().sql),
            2 | 3 => {
                let local = self.author.dice.chance(50);
                let sql = format!("SELECT set_config('bemi.context', $1, {local})");
                (Shape::Context, sql)
            }
            _ => {
                let sql = self.author.writing(|tag| {
                    format!("INSERT INTO t (id, note, execution, tag) VALUES ($1, $2, $3, '{tag}')")
                });
                (Shape::Write, sql)
            }
        };
        if self.author.dice.chance(70) {
            messages.push(Message::CloseStatement(name.clone()));
        }
        messages.push(Message::Parse {
            name: name.clone(),
            sql,
        });
        self.named.retain(|(other, _)| *other != name);
        self.named.push((name, shape));
    }

    fn parameters(&mut self, shape: Shape) -> Vec<Option<String>> {
        match shape {
            Shape::Nothing => Vec::new(),
            Shape::Context => {
                let null = self.author.dice.chance(10);
                vec![(!null).then(|| self.author.context())]
            }
            Shape::Write => vec![Some(self.author.id().to_string()), Some("note".into()), None],
        }
    }

    /// Several portals, bound first and executed later, in any order.
    fn portals(&mut self, messages: &mut Vec<Message>) {
        self.author.is_alone = false;
        let mut portals = Vec::new();
        for portal in ["u", "v", "w"] {
            let statement = self.author.statement(true);
            if statement.copy.is_some() || statement.refusal.is_some() {
                continue;
            }
            messages.push(Message::Parse {
                name: String::new(),
                sql: statement.sql,
            });
            messages.push(Message::Bind {
                portal: portal.to_owned(),
                statement: String::new(),
                parameters: statement.parameters,
                binary: statement.binary,
            });
            portals.push(portal);
        }
        self.author.is_alone = true;
        while !portals.is_empty() {
            let at = self.author.dice.below(portals.len());
            let portal = portals.remove(at);
            let rows = self.author.dice.pick(&[0, 0, 1]);
            self.execute(portal, rows, None, messages);
            if rows > 0 {
                self.execute(portal, 0, None, messages);
            }
        }
    }
    /// A portal that is run in parts, with other things said in between.
    fn cursor(&mut self) {
        let (sql, parameters) = match self.author.dice.below(4) {
            0 => ("SELECT generate_series(1, 5)".to_owned(), Vec::new()),
            1 => {
                let local = self.author.dice.chance(50);
                let sql = format!(
                    "SELECT set_config('bemi.context', '{{\"g\":' || g || '}}', {local}) FROM generate_series(1, 4) g"
                );
                (sql, Vec::new())
            }
            _ => {
                let sql = self.author.writing(|tag| {
                    format!("INSERT INTO t (id, tag) SELECT generate_series($1, $1 + 2), '{tag}' RETURNING id, setting")
                });
                let id = self.author.id();
                // It takes this one and the next two.
                self.author.id();
                self.author.id();
                (sql, vec![Some(id.to_string())])
            }
        };
        let mut messages = vec![lone_query("BEGIN".into()), Message::CloseStatement(CURSOR.into())];
        messages.push(Message::Parse {
            name: CURSOR.into(),
            sql,
        });
        messages.push(Message::Bind {
            portal: CURSOR.into(),
            statement: CURSOR.into(),
            parameters,
            binary: false,
        });
        messages.push(Message::Sync);
        self.step(messages);
        for _ in 0..self.author.dice.between(1, 4) {
            let mut messages = Vec::new();
            match self.author.dice.below(4) {
                0 => self.query(2, &mut messages),
                1 => self.group(1, &mut messages),
                _ => {}
            }
            // The end of a transaction is the end of the portal. Which of its two errors an Execute of it meets, should
            // more go wrong, is a matter of what stands ahead of it.
            let ends = |message: &Message| {
                let text = message.to_string();
                ["COMMIT", "END", "ROLLBACK", "ABORT"]
                    .iter()
                    .any(|end| text.contains(end))
            };
            if messages.iter().any(ends) {
                self.step(std::mem::take(&mut messages));
            }
            let rows = self.author.dice.pick(&[0, 1, 2]);
            self.execute(CURSOR, rows, None, &mut messages);
            messages.push(Message::Sync);
            self.step(messages);
        }
    }
}

/// A statement and portal that run in parts.
const CURSOR: &str = "k";

fn lone_query(text: String) -> Message {
    query_of([text])
}

fn query_of<const N: usize>(texts: [String; N]) -> Message {
    let sql = |text| Sql { text, refusal: None };
    Message::Query(texts.map(sql).into())
}
