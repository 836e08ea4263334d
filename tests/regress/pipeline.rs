//! `libpq_pipeline`: what it sees of the protocol is recorded by libpq, message by message, and compared as well.

use std::fs;

use crate::installed;
use crate::stage::Stage;
use crate::suite::{Test, to_its_end};
use crate::support::program;
use crate::workspace::Workspace;

/// Rows to insert, as PostgreSQL's own run has it (`t/001_libpq_pipeline.pl`).
const ROWS: &str = "700";

pub async fn run(stage: &Stage, workspace: &Workspace) -> Result<Vec<Test>, String> {
    workspace.clear_output().map_err(|error| error.to_string())?;
    let mut tests = Vec::new();
    for name in names(workspace).await? {
        tests.push(run_test(&name, stage, workspace).await?);
    }
    Ok(tests)
}

async fn names(workspace: &Workspace) -> Result<Vec<String>, String> {
    let mut command = libpq_pipeline(workspace);
    command.arg("tests");
    let listed = program::text(&to_its_end(command).await?.stdout);
    let names: Vec<String> = listed.split_whitespace().map(str::to_owned).collect();
    if names.is_empty() {
        return Err("libpq_pipeline has no tests".to_owned());
    }
    Ok(names)
}

async fn run_test(name: &str, stage: &Stage, workspace: &Workspace) -> Result<Test, String> {
    let trace = workspace.output().join(format!("{name}.trace"));
    let mut command = libpq_pipeline(workspace);
    command
        .args(["-r", ROWS, "-t"])
        .arg(&trace)
        .arg(name)
        .arg(format!(
            "host=127.0.0.1 port={} user=postgres dbname=postgres sslmode=disable",
            stage.port()
        ))
        .env("PGOPTIONS", Stage::options("libpq_pipeline"));
    let ended = to_its_end(command).await?;
    let trace = fs::read(&trace).map_err(|error| format!("the trace of {name}: {error}"))?;
    // There is an expected one of the tests whose trace never varies.
    let expected = fs::read(workspace.input().join(format!("traces/{name}.trace"))).ok();
    let passed = ended.success && expected.as_ref().is_none_or(|expected| *expected == trace);
    let mut printed = vec![
        (format!("{name}.out"), ended.stdout),
        (format!("{name}.err"), ended.stderr),
    ];
    if expected.is_some() {
        printed.push((format!("{name}.trace"), trace));
    }
    Ok(Test {
        name: name.to_owned(),
        passed,
        printed,
    })
}

fn libpq_pipeline(workspace: &Workspace) -> std::process::Command {
    workspace.command(&installed().join("bin/libpq_pipeline"))
}
