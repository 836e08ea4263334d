//! A server that only answers: what PostgreSQL says to a sequence of messages, without the data.
//!
//! It knows enough of "Message Flow" to make the order, the number and the skipping of replies right. That is what a
//! proxy can get wrong by itself; what the real server does is tested on the real server. A text with the word
//! `fail` fails, and its error has a position.

use std::collections::{BTreeMap, VecDeque};

use bemi::sql::{Dialect, Kind, Rules, analyze};
use bemi::wire::frame::{HEADER_LEN, Header, write_frame, write_string};
use bemi::wire::frontend::{self, BindNames, Named, tag};

/// The server's side of a connection.
pub struct Model {
    input: Vec<u8>,
    output: Vec<u8>,
    /// `I`, `T` or `E`, as ReadyForQuery has it.
    status: u8,
    savepoints: Vec<String>,
    statements: BTreeMap<Vec<u8>, String>,
    portals: BTreeMap<Vec<u8>, Portal>,
    is_skipping: bool,
    copy: Option<Copy>,
    /// A setting has changed that the server reports, ahead of the next ReadyForQuery.
    has_news: bool,
    pub is_closed: bool,
}

#[derive(Clone)]
struct Portal {
    text: String,
    is_suspended: bool,
    is_done: bool,
}

/// COPY FROM STDIN under way; what is left of the Query behind it, if it came in one.
struct Copy {
    rest: Option<VecDeque<(usize, String)>>,
}

/// Why a statement failed.
struct Failure {
    state: &'static str,
    position: Option<usize>,
}

impl Failure {
    fn new(state: &'static str) -> Self {
        Self {
            state,
            position: None,
        }
    }
}

/// How a statement ended.
enum Done {
    Complete,
    /// COPY FROM STDIN has begun.
    Copying,
}

impl Model {
    pub fn new() -> Self {
        let mut model = Self {
            input: Vec::new(),
            output: Vec::new(),
            status: b'I',
            savepoints: Vec::new(),
            statements: BTreeMap::new(),
            portals: BTreeMap::new(),
            is_skipping: false,
            copy: None,
            has_news: false,
            is_closed: false,
        };
        model.ready();
        model
    }

    /// Answers what can be answered.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.input.extend_from_slice(bytes);
        while let Some(header) = Header::read(&self.input).expect("a frame") {
            if self.is_closed || self.input.len() < header.frame_len {
                break;
            }
            let frame: Vec<u8> = self.input.drain(..header.frame_len).collect();
            self.message(header.tag, &frame[HEADER_LEN..]);
        }
        std::mem::take(&mut self.output)
    }

    fn message(&mut self, tag: u8, body: &[u8]) {
        if self.copy.is_some() {
            return self.copy_message(tag);
        }
        if tag == tag::TERMINATE {
            self.is_closed = true;
        } else if tag == tag::SYNC {
            self.is_skipping = false;
            self.ready();
        } else if tag == tag::QUERY && !self.is_skipping {
            self.query(body);
        } else if tag == tag::FUNCTION_CALL && !self.is_skipping {
            match self.refused_in_failed_block("") {
                Ok(()) => write_frame(&mut self.output, b'V', |out| out.extend_from_slice(&[0; 4])),
                Err(failure) => self.fail(&failure),
            }
            self.ready();
        } else if !self.is_skipping
            && !matches!(tag, tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL | tag::FLUSH)
            && let Err(failure) = self.extended(tag, body)
        {
            self.fail(&failure);
            self.is_skipping = true;
        }
    }

    fn copy_message(&mut self, tag: u8) {
        match tag {
            tag::COPY_DATA | tag::SYNC | tag::FLUSH => {}
            tag::COPY_DONE => {
                self.complete("COPY 1");
                if let Some(Copy { rest: Some(rest) }) = self.copy.take() {
                    self.run_all(rest);
                }
            }
            tag::COPY_FAIL => {
                self.fail(&Failure::new("57014"));
                match self.copy.take() {
                    Some(Copy { rest: Some(_) }) => self.ready(),
                    _ => self.is_skipping = true,
                }
            }
            _ => {
                self.fail(&Failure::new("08P01"));
                self.fail(&Failure::new("08P01"));
                self.is_closed = true;
            }
        }
    }

    fn ready(&mut self) {
        if self.status == b'I' {
            self.portals.clear();
        }
        if std::mem::take(&mut self.has_news) {
            write_frame(&mut self.output, b'S', |out| {
                out.extend_from_slice(b"standard_conforming_strings\0off\0");
            });
        }
        write_frame(&mut self.output, b'Z', |out| out.push(self.status));
    }

    fn complete(&mut self, tag: &str) {
        write_frame(&mut self.output, b'C', |out| write_string(out, tag.as_bytes()));
    }

    fn response(&mut self, tag: u8, state: &str, position: Option<usize>) {
        write_frame(&mut self.output, tag, |out| {
            out.push(b'C');
            write_string(out, state.as_bytes());
            if let Some(position) = position {
                out.push(b'P');
                write_string(out, position.to_string().as_bytes());
            }
            out.push(0);
        });
    }

    fn fail(&mut self, failure: &Failure) {
        self.response(b'E', failure.state, failure.position);
        if self.status == b'T' {
            self.status = b'E';
        }
    }

    fn query(&mut self, body: &[u8]) {
        self.statements.remove(&b""[..]);
        self.portals.remove(&b""[..]);
        let text = std::str::from_utf8(frontend::query(body).expect("a Query")).expect("UTF-8");
        if text.contains("broken") {
            // A copy of it may stand in a message ahead.
            let position = text[..text.rfind("broken").expect("there")].chars().count() + 1;
            let failure = Failure {
                state: "42601",
                position: Some(position),
            };
            self.fail(&failure);
            return self.ready();
        }
        let analysis = analyze(text.as_bytes(), Dialect::default(), &Rules::default());
        if analysis.statements.is_empty() {
            write_frame(&mut self.output, b'I', |_| ());
            return self.ready();
        }
        let statements = analysis.statements.iter().map(|statement| {
            let before = text[..statement.body.start].chars().count();
            (before, text[statement.body.clone()].to_owned())
        });
        self.run_all(statements.collect());
    }

    /// Runs what is left of a Query; ReadyForQuery ends it, unless COPY data comes first.
    fn run_all(&mut self, mut statements: VecDeque<(usize, String)>) {
        while let Some((before, text)) = statements.pop_front() {
            match self.run(&text, before, true) {
                Ok(Done::Complete) => {}
                Ok(Done::Copying) => {
                    self.copy = Some(Copy {
                        rest: Some(statements),
                    });
                    return;
                }
                Err(failure) => {
                    self.fail(&failure);
                    break;
                }
            }
        }
        self.ready();
    }

    fn extended(&mut self, tag: u8, body: &[u8]) -> Result<(), Failure> {
        let reply = match tag {
            tag::PARSE => {
                let parse = frontend::Parse::read(body).expect("a Parse");
                let text = std::str::from_utf8(parse.text).expect("UTF-8").to_owned();
                if text.contains("broken")
                    || analyze(parse.text, Dialect::default(), &Rules::default())
                        .statements
                        .len()
                        > 1
                {
                    return Err(Failure {
                        state: "42601",
                        position: Some(1),
                    });
                }
                self.refused_in_failed_block(&text)?;
                if !parse.statement.is_empty() && self.statements.contains_key(parse.statement) {
                    return Err(Failure::new("42P05"));
                }
                self.statements.insert(parse.statement.to_vec(), text);
                b'1'
            }
            tag::BIND => {
                let names = BindNames::peek(body).expect("a Bind");
                let text = self
                    .statements
                    .get(names.statement)
                    .cloned()
                    .ok_or(Failure::new("26000"))?;
                self.refused_in_failed_block(&text)?;
                if !names.portal.is_empty() && self.portals.contains_key(names.portal) {
                    return Err(Failure::new("42P03"));
                }
                let portal = Portal {
                    text,
                    is_suspended: false,
                    is_done: false,
                };
                self.portals.insert(names.portal.to_vec(), portal);
                b'2'
            }
            tag::CLOSE => {
                match frontend::named("Close", body).expect("a Close") {
                    Named::Statement(name) => drop(self.statements.remove(name)),
                    Named::Portal(name) => drop(self.portals.remove(name)),
                }
                b'3'
            }
            tag::DESCRIBE => return self.describe(body),
            _ => return self.execute(body),
        };
        write_frame(&mut self.output, reply, |_| ());
        Ok(())
    }

    fn describe(&mut self, body: &[u8]) -> Result<(), Failure> {
        let text = match frontend::named("Describe", body).expect("a Describe") {
            Named::Statement(name) => {
                let text = self.statements.get(name).cloned().ok_or(Failure::new("26000"))?;
                write_frame(&mut self.output, b't', |out| out.extend_from_slice(&[0, 0]));
                text
            }
            Named::Portal(name) => self
                .portals
                .get(name)
                .map(|p| p.text.clone())
                .ok_or(Failure::new("34000"))?,
        };
        match columns(&text) {
            Some(name) => self.row_description(name),
            None => write_frame(&mut self.output, b'n', |_| ()),
        }
        Ok(())
    }

    fn execute(&mut self, body: &[u8]) -> Result<(), Failure> {
        let name = frontend::execute(body).expect("an Execute");
        let portal = self.portals.get(name).cloned().ok_or(Failure::new("34000"))?;
        if portal.text.trim().is_empty() {
            write_frame(&mut self.output, b'I', |_| ());
            return Ok(());
        }
        self.refused_in_failed_block(&portal.text)?;
        let has_limit = body.last() != Some(&0);
        if portal.is_done {
            return Err(Failure::new("55000"));
        }
        if has_limit && columns(&portal.text).is_some() && !portal.is_suspended {
            self.portals.get_mut(name).expect("there").is_suspended = true;
            self.row(b"1");
            write_frame(&mut self.output, b's', |_| ());
            return Ok(());
        }
        if let Some(portal) = self.portals.get_mut(name) {
            portal.is_done = true;
        }
        if let Done::Copying = self.run(&portal.text, 0, false)? {
            self.copy = Some(Copy { rest: None });
        }
        Ok(())
    }

    fn row_description(&mut self, name: &str) {
        write_frame(&mut self.output, b'T', |out| {
            out.extend_from_slice(&[0, 1]);
            write_string(out, name.as_bytes());
            out.extend_from_slice(&[0; 18]);
        });
    }

    fn row(&mut self, value: &[u8]) {
        write_frame(&mut self.output, b'D', |out| {
            out.extend_from_slice(&[0, 1]);
            out.extend_from_slice(&(value.len() as u32).to_be_bytes());
            out.extend_from_slice(value);
        });
    }

    fn refused_in_failed_block(&self, text: &str) -> Result<(), Failure> {
        let analysis = analyze(text.as_bytes(), Dialect::default(), &Rules::default());
        let ends_it = analysis.statements.first().is_some_and(|statement| {
            matches!(
                statement.kind,
                Kind::Commit { .. } | Kind::Rollback { .. } | Kind::RollbackTo(_) | Kind::PrepareTransaction
            )
        });
        if self.status == b'E' && !ends_it {
            Err(Failure::new("25P02"))
        } else {
            Ok(())
        }
    }

    fn run(&mut self, text: &str, before: usize, is_simple: bool) -> Result<Done, Failure> {
        self.refused_in_failed_block(text)?;
        let is_ours = text.contains("AS \"_bemi\"");
        if let Some(at) = text.find("fail").filter(|_| !is_ours) {
            let position = Some(before + text[..at].chars().count() + 1);
            return Err(Failure {
                state: "22012",
                position,
            });
        }
        if let Some(at) = text.find("notice").filter(|_| !is_ours) {
            let position = Some(before + text[..at].chars().count() + 1);
            self.response(b'N', "00000", position);
        }
        let analysis = analyze(text.as_bytes(), Dialect::default(), &Rules::default());
        let kind = analysis
            .statements
            .first()
            .map_or(Kind::Other, |statement| statement.kind.clone());
        self.run_kind(&kind, text, is_simple)
    }

    fn run_kind(&mut self, kind: &Kind, text: &str, is_simple: bool) -> Result<Done, Failure> {
        let in_block = self.status != b'I';
        match kind {
            Kind::Begin => {
                if in_block {
                    self.response(b'N', "25001", None);
                }
                self.status = b'T';
                self.complete("BEGIN");
            }
            Kind::Commit { chain } | Kind::Rollback { chain } => {
                if *chain && !in_block {
                    return Err(Failure::new("25P01"));
                }
                if !in_block {
                    self.response(b'N', "25P01", None);
                }
                let commits = matches!(kind, Kind::Commit { .. }) && self.status != b'E';
                self.status = if *chain { b'T' } else { b'I' };
                self.savepoints.clear();
                self.portals.clear();
                self.complete(if commits { "COMMIT" } else { "ROLLBACK" });
            }
            Kind::Savepoint(_) | Kind::Release(_) | Kind::RollbackTo(_) if !in_block => {
                return Err(Failure::new("25P01"));
            }
            Kind::Savepoint(name) => {
                self.savepoints.push(name.clone());
                self.complete("SAVEPOINT");
            }
            Kind::Release(name) => {
                let at = self.savepoint(name)?;
                self.savepoints.truncate(at);
                self.complete("RELEASE");
            }
            Kind::RollbackTo(name) => {
                let at = self.savepoint(name)?;
                self.savepoints.truncate(at + 1);
                self.status = b'T';
                self.complete("ROLLBACK");
            }
            Kind::DiscardAll if in_block => return Err(Failure::new("25001")),
            Kind::DiscardAll | Kind::Deallocate { name: None } => {
                self.statements.clear();
                if matches!(kind, Kind::DiscardAll) {
                    self.portals.clear();
                }
                self.complete("DISCARD");
            }
            Kind::Deallocate { name: Some(name) } => {
                self.statements
                    .remove(name.as_bytes())
                    .ok_or(Failure::new("26000"))?;
                self.complete("DEALLOCATE");
            }
            Kind::Prepare { name, inner } => {
                if self.statements.contains_key(name.as_bytes()) {
                    return Err(Failure::new("42P05"));
                }
                let inner = text[inner.body.clone()].to_owned();
                self.statements.insert(name.clone().into_bytes(), inner);
                self.complete("PREPARE");
            }
            Kind::Execute { name, .. } => {
                let inner = self
                    .statements
                    .get(name.as_bytes())
                    .cloned()
                    .ok_or(Failure::new("26000"))?;
                if inner.contains("fail") {
                    return Err(Failure::new("22012"));
                }
                if let Some(column) = columns(&inner).filter(|_| is_simple) {
                    self.row_description(column);
                }
                self.complete("INSERT 0 1");
            }
            _ if text.starts_with("COPY") => {
                write_frame(&mut self.output, b'G', |out| out.extend_from_slice(&[0; 3]));
                return Ok(Done::Copying);
            }
            _ => self.select_or_write(text, is_simple),
        }
        Ok(Done::Complete)
    }

    fn select_or_write(&mut self, text: &str, is_simple: bool) {
        self.has_news |= text.starts_with("SET standard_conforming_strings");
        let Some(column) = columns(text) else {
            return self.complete(text.split(' ').next().unwrap_or_default());
        };
        if is_simple {
            self.row_description(column);
        }
        if text.contains("pg_prepared_statements") {
            let names: Vec<_> = self
                .statements
                .keys()
                .filter(|name| !name.is_empty())
                .cloned()
                .collect();
            names.iter().for_each(|name| self.row(name));
        } else if text.contains("current_setting") {
            // The digits of {"p":1}.
            self.row(b"7b2270223a317d");
        } else {
            self.row(b"1");
        }
        self.complete("SELECT 1");
    }

    fn savepoint(&mut self, name: &str) -> Result<usize, Failure> {
        let found = self.savepoints.iter().rposition(|savepoint| savepoint == name);
        found.ok_or(Failure::new("3B001"))
    }
}

/// The name of the column that a statement returns.
fn columns(text: &str) -> Option<&str> {
    let is_ours = text.contains("AS \"_bemi\"");
    text.starts_with("SELECT")
        .then_some(if is_ours { "_bemi" } else { "x" })
}
