//! What both runs of a suite left, side by side.

use std::fs;
use std::io;

use crate::installed;
use crate::stage::Way;
use crate::suite::{Suite, Test};
use crate::support::program;

/// Tests whose output is another one each time, without any proxy: suite, test, and why.
const VARY: &[(&str, &str, &str)] = &[
    (
        "libpq_pipeline",
        "uniqviol",
        "it sends for as long as the sockets take more, and prints how much that was",
    ),
    (
        "plpgsql-extended",
        "plpgsql_transaction",
        "it lists the portals with the times when they were made, and its own is one in this protocol",
    ),
];

/// What a run of a suite left: its tests, and how many messages there are in the log.
type Run = (Vec<Test>, usize);

/// How the two runs compare.
pub struct Comparison {
    suite: &'static Suite,
    tests: usize,
    /// Tests that differ, and where.
    differences: Vec<String>,
    /// What fails directly already.
    failures: Vec<String>,
    messages: usize,
    complaints: Vec<String>,
}

impl Comparison {
    pub fn new(suite: &'static Suite, direct: &Run, proxied: &Run) -> Self {
        let mut complaints = Vec::new();
        if direct.1 > 0 {
            complaints.push("there are messages in the log without the proxy".to_owned());
        }
        if proxied.1 == 0 {
            complaints.push("there are no messages in the log".to_owned());
        }
        let names = |tests: &[Test]| tests.iter().map(|test| test.name.clone()).collect::<Vec<_>>();
        let names_of_both = (names(&direct.0), names(&proxied.0));
        let same_tests = sorted(names_of_both.0) == sorted(names_of_both.1);
        if !same_tests {
            complaints.push("not the same tests ran".to_owned());
        }
        let differences = direct.0.iter().filter_map(|test| {
            let other = proxied.0.iter().find(|other| other.name == test.name)?;
            difference(suite, test, other)
        });
        let failures = direct.0.iter().filter(|test| !test.passed && !suite.is_extended);
        Self {
            suite,
            tests: direct.0.len(),
            differences: differences.collect(),
            failures: failures.map(|test| test.name.clone()).collect(),
            messages: proxied.1,
            complaints,
        }
    }

    /// What fails directly already counts only where it must not: where the suites are the server's own.
    pub fn is_well(&self, is_exact: bool) -> bool {
        let fails = is_exact && !self.failures.is_empty();
        self.differences.is_empty() && !fails && self.complaints.is_empty()
    }

    pub fn print(&self) {
        let suite = self.suite.name;
        for difference in &self.differences {
            println!("DIFFERENT  {suite}: {difference}");
        }
        for name in &self.failures {
            println!("FAILS DIRECTLY  {suite}: {name}");
        }
        for complaint in &self.complaints {
            println!("FAILED  {suite}: {complaint}");
        }
        for (_, test, why) in VARY.iter().filter(|(of, _, _)| *of == suite) {
            println!("not compared  {suite}: what {test} prints; {why}");
        }
    }

    /// Its line of the table.
    pub fn line(&self) -> String {
        let different = self.differences.len();
        format!(
            "{:<18} {:>6} {:>6} {:>10} {:>9}",
            self.suite.name,
            self.tests,
            self.tests - different,
            different,
            self.messages
        )
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn difference(suite: &Suite, direct: &Test, proxied: &Test) -> Option<String> {
    let name = &direct.name;
    let passed = |test: &Test| if test.passed { "passes" } else { "fails" };
    let varies = VARY.iter().any(|(of, test, _)| *of == suite.name && test == name);
    if direct.passed == proxied.passed && (varies || direct.printed == proxied.printed) {
        return None;
    }
    let mut report = format!(
        "{name} {} directly and {} through the proxy",
        passed(direct),
        passed(proxied)
    );
    let files = direct.printed.iter().zip(&proxied.printed);
    for ((file, direct), (_, proxied)) in files.filter(|(direct, proxied)| direct != proxied) {
        report.push_str(&format!("\n  {file}, {}", parting(direct, proxied)));
    }
    Some(report)
}

/// Where two texts part.
fn parting(direct: &[u8], proxied: &[u8]) -> String {
    let lines = |bytes: &[u8]| {
        program::text(bytes)
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (direct, proxied) = (lines(direct), lines(proxied));
    let at = (0..direct.len().max(proxied.len()))
        .find(|&at| direct.get(at) != proxied.get(at))
        .unwrap_or_default();
    let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_else(|| "(nothing)".to_owned());
    format!(
        "line {}\n    direct:  {}\n    proxied: {}",
        at + 1,
        line(&direct),
        line(&proxied)
    )
}

/// Puts what the tests printed where it can be read afterwards.
pub fn keep(suite: &Suite, way: Way, tests: &[Test]) -> io::Result<()> {
    let place = installed().join("results").join(suite.name).join(way.name());
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    for (file, content) in tests.iter().flat_map(|test| &test.printed) {
        fs::write(place.join(file), content)?;
    }
    Ok(())
}
