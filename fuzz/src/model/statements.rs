//! What the model makes of statements.

use bemi::sql::{Dialect, Kind, Rules, analyze};
use bemi::wire::frame::{write_frame, write_string};

use super::{Done, Failure, Model};

impl Model {
    pub(super) fn row_description(&mut self, name: &str) {
        write_frame(&mut self.output, b'T', |out| {
            out.extend_from_slice(&[0, 1]);
            write_string(out, name.as_bytes());
            out.extend_from_slice(&[0; 18]);
        });
    }

    pub(super) fn row(&mut self, value: &[u8]) {
        write_frame(&mut self.output, b'D', |out| {
            out.extend_from_slice(&[0, 1]);
            out.extend_from_slice(&(value.len() as u32).to_be_bytes());
            out.extend_from_slice(value);
        });
    }

    pub(super) fn refused_in_failed_block(&self, text: &str) -> Result<(), Failure> {
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

    pub(super) fn run(&mut self, text: &str, before: usize, is_simple: bool) -> Result<Done, Failure> {
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
        match kind {
            Kind::Begin
            | Kind::Commit { .. }
            | Kind::Rollback { .. }
            | Kind::Savepoint(_)
            | Kind::Release(_)
            | Kind::RollbackTo(_) => self.control_transaction(kind)?,
            Kind::DiscardAll | Kind::Deallocate { .. } | Kind::Prepare { .. } | Kind::Execute { .. } => {
                self.handle_prepared(kind, text, is_simple)?
            }
            _ if text.starts_with("COPY") => {
                write_frame(&mut self.output, b'G', |out| out.extend_from_slice(&[0; 3]));
                return Ok(Done::Copying);
            }
            _ => self.select_or_write(text, is_simple),
        }
        Ok(Done::Complete)
    }

    fn control_transaction(&mut self, kind: &Kind) -> Result<(), Failure> {
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
            _ if !in_block => return Err(Failure::new("25P01")),
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
            other => unreachable!("{other:?} controls no transaction"),
        }
        Ok(())
    }

    fn handle_prepared(&mut self, kind: &Kind, text: &str, is_simple: bool) -> Result<(), Failure> {
        match kind {
            Kind::DiscardAll if self.status != b'I' => return Err(Failure::new("25001")),
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
                let inner = self.statements.get(name.as_bytes()).cloned();
                let inner = inner.ok_or(Failure::new("26000"))?;
                if inner.contains("fail") {
                    return Err(Failure::new("22012"));
                }
                if let Some(column) = columns(&inner).filter(|_| is_simple) {
                    self.row_description(column);
                }
                self.complete("INSERT 0 1");
            }
            other => unreachable!("{other:?} handles no prepared statement"),
        }
        Ok(())
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
pub(super) fn columns(text: &str) -> Option<&str> {
    let is_ours = text.contains("AS \"_bemi\"");
    text.starts_with("SELECT")
        .then_some(if is_ours { "_bemi" } else { "x" })
}
