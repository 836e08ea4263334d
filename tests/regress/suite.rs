//! The suites, and how to run one.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::stage::Stage;
use crate::workspace::Workspace;
use crate::{pipeline, schedule};

/// A program that takes longer hangs: they take a minute or two.
const PATIENCE: Duration = Duration::from_secs(900);

/// A suite in the source of PostgreSQL.
pub struct Suite {
    pub name: &'static str,
    /// Where it is in the source.
    pub directory: &'static str,
    /// Threads of the proxy; 0 for as many as there are cores.
    pub threads: usize,
    pub kind: Kind,
    /// In the extended protocol instead of the simple one. Not all that PostgreSQL expects can come out then, and texts of
    /// several statements are refused; but the same must.
    pub is_extended: bool,
}

/// What runs a suite.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `pg_regress`: SQL scripts for psql.
    Regress,
    /// `pg_isolation_regress`: sessions side by side, step by step.
    Isolation,
    /// `libpq_pipeline`: the extended protocol, many messages ahead of the replies.
    Pipeline,
}

/// All suites.
pub const SUITES: &[Suite] = &[
    regress("regress", "src/test/regress", false),
    regress("regress-extended", "src/test/regress", true),
    regress("plpgsql", "src/pl/plpgsql/src", false),
    regress("plpgsql-extended", "src/pl/plpgsql/src", true),
    // Its tester asks on one connection whether another one waits, and takes it that by then whatever that one was told
    // has arrived. On one thread the proxy keeps the order in which things happened on different connections.
    Suite {
        name: "isolation",
        directory: "src/test/isolation",
        threads: 1,
        kind: Kind::Isolation,
        is_extended: false,
    },
    Suite {
        name: "libpq_pipeline",
        directory: "src/test/modules/libpq_pipeline",
        threads: 0,
        kind: Kind::Pipeline,
        is_extended: false,
    },
];

const fn regress(name: &'static str, directory: &'static str, is_extended: bool) -> Suite {
    Suite {
        name,
        directory,
        threads: 0,
        kind: Kind::Regress,
        is_extended,
    }
}

/// A test that ran.
#[derive(Debug)]
pub struct Test {
    pub name: String,
    /// Whether PostgreSQL's own judgement is that it passed.
    pub passed: bool,
    /// What it printed, by file name.
    pub printed: Vec<(String, Vec<u8>)>,
}

impl Suite {
    pub async fn run(&self, stage: &Stage, workspace: &Workspace) -> Result<Vec<Test>, String> {
        match self.kind {
            Kind::Regress | Kind::Isolation => schedule::run(self, stage, workspace).await,
            Kind::Pipeline => pipeline::run(stage, workspace).await,
        }
    }
}

/// What a program printed on both outputs together, and whether it was content.
pub struct Ended {
    pub success: bool,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// Runs a program to its end.
pub async fn to_its_end(command: std::process::Command) -> Result<Ended, String> {
    let what = command.get_program().to_string_lossy().into_owned();
    let child = Command::from(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{what}: {error}"))?;
    match tokio::time::timeout(PATIENCE, child.wait_with_output()).await {
        Ok(Ok(output)) => Ok(Ended {
            success: output.status.success(),
            stdout: output.stdout,
            stderr: output.stderr,
        }),
        Ok(Err(error)) => Err(format!("{what}: {error}")),
        Err(_) => Err(format!("{what} hangs")),
    }
}
