//! The streams that two servers sent, as rows: `recorded.txt`, which was read by a person before it was believed.

use std::convert::Infallible;

use super::tests::{Collected, settings};
use super::{Assembler, Catalog};
use crate::replication::{Lsn, Timestamp};
use crate::track::kind::TypeFacts;
use crate::track::rules::Rules;
use crate::track::table::TableFacts;

const STREAMS: [&str; 2] = [
    include_str!("../../replication/pgoutput/recorded/postgresql-15.txt"),
    include_str!("../../replication/pgoutput/recorded/postgresql-18.txt"),
];

/// A catalog from which everything is gone by now.
struct Gone;

impl Catalog for Gone {
    type Error = Infallible;

    fn settle(&mut self, _xid: u32) -> Result<(), Infallible> {
        Ok(())
    }

    fn table(&mut self, _oid: u32) -> Result<Option<TableFacts>, Infallible> {
        Ok(None)
    }

    fn types(&mut self, _oids: &[u32]) -> Result<Vec<TypeFacts>, Infallible> {
        Ok(Vec::new())
    }
}

/// The messages of protocol version 1 in text form.
fn messages(stream: &str) -> Vec<Vec<u8>> {
    let section = stream.lines().skip_while(|line| *line != "# version 1").skip(1);
    let digit = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
    section
        .take_while(|line| !line.starts_with('#'))
        .map(|line| line.as_bytes().chunks(2).map(digit).collect())
        .collect()
}

/// Operation, table, keys, rows, what is incomplete, and the context; large values cut.
fn rows(stream: &str) -> String {
    let mut assembler = Assembler::new(settings(Rules::default()), Gone);
    let mut out = Collected::default();
    for message in messages(stream) {
        assembler
            .message(Lsn(5), &message, Timestamp(0), &mut out)
            .unwrap();
    }
    let shown = [6, 2, 3, 4, 5, 7, 8, 9, 14];
    let row = |columns: Vec<String>| {
        let line: Vec<&str> = shown.iter().map(|place| columns[*place].as_str()).collect();
        let mut line = line.join(" | ") + "\n";
        while line.contains("xx") {
            line = line.replace("xx", "x");
        }
        line
    };
    out.table().into_iter().map(row).collect()
}

#[test]
fn what_two_servers_sent_becomes_these_rows() {
    for stream in STREAMS {
        assert_eq!(rows(stream), include_str!("recorded.txt"));
    }
}
