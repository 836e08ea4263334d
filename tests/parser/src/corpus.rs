//! Where texts come from.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{psql, spec};

/// A text as a client sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub text: String,
    pub standard_conforming_strings: bool,
}

/// The texts of the transcripts in `tests/sql` of the repository. What their directives say about rules does not
/// change where statements begin nor what they do, but for names of functions, which no tree knows of.
pub fn transcripts() -> Vec<Text> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql");
    let mut texts = Vec::new();
    for file in files(&directory, "txt") {
        let transcript = fs::read_to_string(&file).expect("a transcript");
        let mut text = Vec::new();
        let mut standard_conforming_strings = true;
        for line in transcript.lines() {
            if let Some(directive) = line.strip_prefix("@ ") {
                standard_conforming_strings =
                    directive != "old strings" && (directive == "reset" || standard_conforming_strings);
            } else if line.starts_with("=>") {
                if !text.is_empty() {
                    texts.push(Text {
                        text: std::mem::take(&mut text).join("\n"),
                        standard_conforming_strings,
                    });
                }
            } else if !line.starts_with('#') && (!line.is_empty() || !text.is_empty()) {
                text.push(line);
            }
        }
    }
    texts
}

/// A script or specification of the downloaded sources, read.
pub struct Source {
    pub path: PathBuf,
    pub texts: Vec<Text>,
}

/// What was read, and what could not be.
#[derive(Default)]
pub struct Suite {
    pub sources: Vec<Source>,
    pub commands: usize,
    pub lines_of_data: usize,
    /// Files that are not UTF-8, which the parser is not given.
    pub other_encodings: Vec<PathBuf>,
}

/// The directory of the sources that `scripts/install-regress-sources.sh` fetched, if it did.
pub fn sources() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/regress");
    let mut found: Vec<_> = fs::read_dir(root)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        // Beside it may be a part of the sources, for the suite to run.
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("postgresql-"))
        })
        .filter(|path| path.join("src/test/regress/sql").is_dir())
        .collect();
    found.sort();
    found.pop()
}

/// All scripts for psql and specifications for the isolation tester.
pub fn suite(root: &Path) -> Suite {
    let mut suite = Suite::default();
    let mut paths = Vec::new();
    find(root, &mut paths);
    paths.sort();
    for path in paths {
        let Ok(text) = String::from_utf8(fs::read(&path).expect("a file")) else {
            suite.other_encodings.push(path);
            continue;
        };
        let texts = if path.extension().is_some_and(|extension| extension == "spec") {
            let plain = |text| Text {
                text,
                standard_conforming_strings: true,
            };
            spec::read(&text).into_iter().map(plain).collect()
        } else {
            let script = psql::read(&text);
            suite.commands += script.commands;
            suite.lines_of_data += script.lines_of_data;
            script.sent
        };
        suite.sources.push(Source { path, texts });
    }
    suite
}

/// `sql/*.sql` and `specs/*.spec`, wherever they are.
fn find(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find(&path, paths);
        }
    }
    let name = directory.file_name().and_then(|name| name.to_str());
    match name {
        Some("sql") => paths.extend(files(directory, "sql")),
        Some("specs") => paths.extend(files(directory, "spec")),
        _ => (),
    }
}

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    paths.sort();
    paths
}
