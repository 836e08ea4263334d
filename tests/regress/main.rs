//! PostgreSQL's own test suites cannot tell the proxy from the server. Run by `make test-regress`, not by `make test`:
//! they come with the server's source, which `scripts/install-regress.sh` fetches.
//!
//! Each suite runs twice, on a fresh server each time: directly, and through the proxy with a context in force, so that
//! there is a message ahead of each write. PostgreSQL says which of its tests pass; that must be the same both times, and
//! so must be every byte that a test printed.
//!
//! `cargo test --test regress -- isolation` runs only that one. What the tests printed is in `target/regress/results`.

// What the other tests share is used here by halves.
#[path = "../support/mod.rs"]
mod support;

mod compare;
mod pipeline;
mod schedule;
mod stage;
mod suite;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use bemi::demo::cluster::Binaries;
use compare::Comparison;
use stage::{Stage, Way};
use suite::{SUITES, Suite};
use support::score::is_wanted;
use workspace::Workspace;

/// Where `scripts/install-regress.sh` installs, or the suites of another version are.
fn installed() -> PathBuf {
    let usual = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/regress");
    std::env::var_os("BEMI_REGRESS_DIR").map_or_else(usual, PathBuf::from)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let _panics = support::panics::watch();
    let is_exact = match announce() {
        Ok(is_exact) => is_exact,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut table = format!(
        "{:<18} {:>6} {:>6} {:>10} {:>9}",
        "suite", "tests", "same", "different", "messages"
    );
    let (mut all_well, mut ran) = (true, false);
    for suite in SUITES.iter().filter(|suite| is_wanted(suite.name)) {
        ran = true;
        let line = match run(suite).await {
            Ok(comparison) => {
                all_well &= comparison.is_well(is_exact);
                comparison.print();
                comparison.line()
            }
            Err(error) => {
                all_well = false;
                println!("FAILED  {}: {error}", suite.name);
                format!("{:<18} did not run", suite.name)
            }
        };
        // Also at once: it takes minutes.
        println!("{line}");
        table.push('\n');
        table.push_str(&line);
    }
    println!("\n{table}");
    if all_well && ran {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Says what runs on what. Returns whether the suites are those of this very server.
fn announce() -> Result<bool, String> {
    let version = std::fs::read_to_string(installed().join("version"))
        .map_err(|_| "no test suites; scripts/install-regress.sh installs them".to_owned())?;
    let binaries = Binaries::find(None).map_err(|error| error.to_string())?;
    println!(
        "test suites of PostgreSQL {}, on {} in {}",
        version.trim_end(),
        binaries.version(),
        binaries.dir().display()
    );
    Ok(version.trim_end() == binaries.version().text)
}

/// Both runs of a suite.
async fn run(suite: &'static Suite) -> Result<Comparison, String> {
    // Paths are printed: they are the same for both.
    let workspace = Workspace::create(suite).map_err(|error| error.to_string())?;
    let mut runs = Vec::new();
    for way in [Way::Direct, Way::Proxied] {
        let stage = Stage::set(way, suite).await?;
        let tests = suite.run(&stage, &workspace).await?;
        let messages = stage.messages()?;
        compare::keep(suite, way, &tests).map_err(|error| error.to_string())?;
        runs.push((tests, messages));
    }
    let [direct, proxied] = <[_; 2]>::try_from(runs).map_err(|_| "there are two ways".to_owned())?;
    Ok(Comparison::new(suite, &direct, &proxied))
}
