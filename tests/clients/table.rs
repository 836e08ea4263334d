//! The page `docs/clients.md`: driver by feature.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use crate::feature::FEATURES;
use crate::transcript::Transcript;

/// A driver.
pub struct Row {
    driver: String,
    /// As many as there are features.
    cells: Vec<Cell>,
}

enum Cell {
    Same,
    Differs,
    /// The driver does not have it.
    Lacks(String),
    /// The suite does not show it.
    Missing,
    NotRun,
    /// The suite does not even run directly.
    Broken,
}

impl Row {
    /// `is_same` says it of a feature that the suite shows.
    pub fn new(suite: &str, direct: &Transcript, is_same: impl Fn(&str) -> bool) -> Self {
        let cell = |feature: &str| match direct.lacks(feature) {
            Some(why) => Cell::Lacks(why.to_owned()),
            None if !direct.shows(feature) => Cell::Missing,
            None if is_same(feature) => Cell::Same,
            None => Cell::Differs,
        };
        Self {
            driver: direct.driver.clone().unwrap_or_else(|| suite.to_owned()),
            cells: FEATURES.iter().map(|feature| cell(feature.name)).collect(),
        }
    }

    pub fn not_run(suite: &str) -> Self {
        Self::all(suite, || Cell::NotRun)
    }

    pub fn broken(suite: &str) -> Self {
        Self::all(suite, || Cell::Broken)
    }

    fn all(suite: &str, cell: fn() -> Cell) -> Self {
        Self {
            driver: suite.to_owned(),
            cells: FEATURES.iter().map(|_| cell()).collect(),
        }
    }
}

/// Writes the page. It has neither dates nor times: as long as nothing changes, neither does it.
pub fn write(rows: &[Row], server: &str) -> io::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/clients.md");
    fs::write(path, page(rows, server))
}

fn page(rows: &[Row], server: &str) -> String {
    let mut footnotes = Vec::new();
    let names: Vec<&str> = FEATURES.iter().map(|feature| feature.name).collect();
    let mut table = line("driver", &names);
    table += &line("---", &vec!["---"; names.len()]);
    for row in rows {
        let cells: Vec<String> = row.cells.iter().map(|cell| shown(cell, &mut footnotes)).collect();
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        table += &line(&row.driver, &cells);
    }
    let mut page = INTRODUCTION.replace("SERVER", server);
    page += &table;
    page += "\nWhat the columns stand for:\n\n";
    for feature in FEATURES {
        let words: Vec<&str> = feature.demands.split_whitespace().collect();
        let _ = writeln!(page, "- **{}**: {}.", feature.name, words.join(" "));
    }
    for (number, why) in footnotes.iter().enumerate() {
        let _ = write!(page, "\n[^{}]: {why}\n", number + 1);
    }
    page
}

fn line(first: &str, others: &[&str]) -> String {
    format!("| {first} | {} |\n", others.join(" | "))
}

/// The same reason is told once.
fn shown(cell: &Cell, footnotes: &mut Vec<String>) -> String {
    match cell {
        Cell::Same => "same".to_owned(),
        Cell::Differs => "DIFFERS".to_owned(),
        Cell::Missing => "not shown".to_owned(),
        Cell::NotRun => "not run".to_owned(),
        Cell::Broken => "broken".to_owned(),
        Cell::Lacks(why) => {
            let known = footnotes.iter().position(|footnote| footnote == why);
            let number = known.unwrap_or_else(|| {
                footnotes.push(why.clone());
                footnotes.len() - 1
            });
            format!("-[^{}]", number + 1)
        }
    }
}

const INTRODUCTION: &str = "# Clients

What a driver sees through `bemi proxy` is what it sees of the server. `make test-clients` checks it with the drivers
below and writes this page; nobody edits it.

Each driver has a program of its own in [tests/clients](../tests/clients). It runs three times, each time on a fresh
database of SERVER: directly, through the proxy without a context, and through the proxy with one. Passwords are
asked for (SCRAM), and server and proxy both speak TLS.

- **same**: all that the driver reported was the same in all three runs, to the last error message, and so were the
  changes in the write-ahead log; each of these carried the context of whoever made it.
- **DIFFERS**: it was not.
- **-**: the driver does not have it; the footnote says more.
- **not run**: the driver was not installed where this page was written.

";
