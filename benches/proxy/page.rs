//! The tables of `docs/benchmarks.md`.

use std::fs;
use std::path::PathBuf;

use crate::table::Table;

/// Between these lines of the page stands what runs have put there.
const BEGIN: &str = "<!-- What follows is written by `make bench`. -->\n";
const END: &str = "<!-- End of what `make bench` writes. -->\n";

/// Writes the page anew, with these tables only.
pub fn replace_all(heading: &str, tables: &[Table]) {
    edit(|_| {
        tables
            .iter()
            .fold(heading.to_owned(), |page, table| format!("{page}\n{table}"))
    });
}

/// Replaces those tables that have the titles of these. The heading stays: it is that of the last whole run.
///
/// # Panics
/// When one is not on the page.
pub fn replace(tables: &[Table]) {
    edit(|page| tables.iter().fold(page.to_owned(), with));
}

fn with(page: String, table: &Table) -> String {
    let title = format!("### {}\n", table.title());
    let begin = page
        .find(&title)
        .unwrap_or_else(|| panic!("no table has the title {title}"));
    let behind = begin + title.len();
    // An empty line parts it from the next.
    let end = page[behind..]
        .find("\n### ")
        .map_or(page.len(), |length| behind + length);
    format!("{}{table}{}", &page[..begin], &page[end..])
}

fn edit(change: impl FnOnce(&str) -> String) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks.md");
    let page = fs::read_to_string(&path).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("where the tables begin");
    let (tables, after) = rest.split_once(END).expect("where the tables end");
    let changed = change(tables.trim_matches('\n'));
    fs::write(
        &path,
        format!("{before}{BEGIN}\n{}\n\n{END}{after}", changed.trim_end()),
    )
    .expect("the page written");
}
