//! `pg_regress` and `pg_isolation_regress`: they run the tests of a schedule, in parallel where it says so, and compare
//! what each printed with what PostgreSQL's developers expect.

use std::fs;
use std::io;

use crate::stage::Stage;
use crate::suite::{Kind, Suite, Test, to_its_end};
use crate::support::program;
use crate::workspace::Workspace;

pub async fn run(suite: &Suite, stage: &Stage, workspace: &Workspace) -> Result<Vec<Test>, String> {
    workspace.clear_output().map_err(|error| error.to_string())?;
    let (runner, schedule) = match suite.kind {
        Kind::Isolation => ("src/test/isolation/pg_isolation_regress", "isolation_schedule"),
        _ => ("src/test/regress/pg_regress", "parallel_schedule"),
    };
    let argument = |name: &str, value: &str| format!("--{name}={value}");
    let path = |name: &str, value: &std::path::Path| format!("--{name}={}", value.display());
    let mut command = workspace.command(&stage.test_program(runner)?);
    if suite.is_extended {
        // Only what runs tests: they are set up with several statements at once.
        let library = workspace.lib().join("extended.so");
        command.arg(format!("--launcher=env LD_PRELOAD={}", library.display()));
    }
    command
        .args([
            path("inputdir", &workspace.input()),
            path("outputdir", &workspace.output()),
            path("bindir", stage.bin_dir()),
            path("dlpath", &workspace.lib()),
            argument("host", "127.0.0.1"),
            argument("port", &stage.port().to_string()),
            argument("user", "postgres"),
            argument("encoding", "UTF8"),
            "--no-locale".to_owned(),
            // As PostgreSQL's makefiles do: so many a schedule has side by side.
            argument("max-concurrent-tests", "20"),
        ])
        .args(selection(workspace, schedule).map_err(|error| error.to_string())?)
        .env("PGSSLMODE", "disable")
        // pg_regress puts settings of its own behind these.
        .env("PGOPTIONS", Stage::options(suite.name));
    let ended = to_its_end(command).await?;
    let printed = program::text(&ended.stdout);
    let verdicts = verdicts(&printed);
    if verdicts.is_empty() {
        return Err(format!(
            "it ran no test\n{printed}{}",
            program::text(&ended.stderr)
        ));
    }
    verdicts
        .into_iter()
        .map(|(name, passed)| {
            let file = format!("{name}.out");
            let content = fs::read(workspace.output().join("results").join(&file))
                .map_err(|error| format!("{file}: {error}"))?;
            Ok(Test {
                name,
                passed,
                printed: vec![(file, content)],
            })
        })
        .collect()
}

/// What tells the runner which tests there are: a schedule, or all their names.
fn selection(workspace: &Workspace, schedule: &str) -> io::Result<Vec<String>> {
    let schedule = workspace.input().join(schedule);
    if schedule.exists() {
        return Ok(vec![format!("--schedule={}", schedule.display())]);
    }
    let mut names = Vec::new();
    for script in fs::read_dir(workspace.input().join("sql"))? {
        let name = script?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".sql").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// The tests of a report, and whether they passed: `test boolean ... ok  123 ms` with much white space, and, since version
/// 16, TAP: `not ok 7     + boolean  123 ms`.
fn verdicts(report: &str) -> Vec<(String, bool)> {
    report.lines().filter_map(verdict).collect()
}

fn verdict(line: &str) -> Option<(String, bool)> {
    if let Some((name, verdict)) = line.split_once(" ... ") {
        let name = name.trim_start_matches("test ").trim();
        return Some((name.to_owned(), verdict.starts_with("ok")));
    }
    let (passed, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok ")?),
    };
    let name = rest.split_whitespace().nth(2)?;
    Some((name.to_owned(), passed))
}
