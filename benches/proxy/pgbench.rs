//! One run of pgbench.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::figures::{cpu_time, quantile};
use crate::stage::{PASSWORD, Way};

/// Of the transactions, this share is written down with its latency: writing costs pgbench time.
const SAMPLED: &str = "0.2";

/// From this length on, in bytes, a script is so slow that all of its transactions are.
const LONG_SCRIPT: usize = 10_000;

/// What to run.
#[derive(Clone)]
pub struct Load {
    pub clients: usize,
    /// `simple`, `extended` or `prepared`.
    pub protocol: &'static str,
    pub script: Script,
    /// As clients give it at the start of their session.
    pub context: bool,
    /// A new connection for each transaction.
    pub reconnects: bool,
    /// With TLS and a password, where not in plain text and trusted.
    pub is_secret: bool,
}

#[derive(Clone)]
pub enum Script {
    Builtin(&'static str),
    Own(String),
}

/// What came out of it. Microseconds.
#[derive(Clone, Copy)]
pub struct Figure {
    pub rate: f64,
    pub p50: f64,
    pub p99: f64,
    /// CPU time of the one in between, a transaction.
    pub cpu: f64,
}

impl Load {
    pub fn new(clients: usize, protocol: &'static str, script: &str) -> Self {
        Self {
            clients,
            protocol,
            script: Script::Own(script.to_owned()),
            context: false,
            reconnects: false,
            is_secret: false,
        }
    }

    fn sampled(&self) -> &'static str {
        match &self.script {
            Script::Own(text) if text.len() > LONG_SCRIPT => "1",
            Script::Own(_) | Script::Builtin(_) => SAMPLED,
        }
    }

    /// Runs it.
    ///
    /// # Panics
    /// When pgbench fails, or a transaction does.
    pub fn run(&self, pgbench: &Path, way: &Way, seconds: u64) -> Figure {
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(pgbench);
        command.args(["--no-vacuum", "-h", "127.0.0.1", "-U", "postgres", "-j", "1"]);
        command.args([
            "-p",
            &way.port.to_string(),
            "-c",
            &self.clients.to_string(),
            "-T",
            &seconds.to_string(),
        ]);
        command.args([
            "-M",
            self.protocol,
            "--log",
            "--sampling-rate",
            self.sampled(),
            "--log-prefix",
        ]);
        command.arg(directory.path().join("log"));
        match &self.script {
            Script::Builtin(name) => _ = command.args(["-b", name]),
            Script::Own(text) => {
                let file = directory.path().join("script.sql");
                fs::write(&file, text).expect("the script");
                command.arg("-f").arg(file);
            }
        }
        if self.reconnects {
            command.arg("--connect");
        }
        let options = if self.context {
            r#"-c bemi.context={"user_id":187234,"endpoint":"/todo","method":"POST"}"#
        } else {
            ""
        };
        command
            .env("PGOPTIONS", options)
            .env("PGGSSENCMODE", "disable")
            .env("PGPASSWORD", PASSWORD);
        command.env("PGSSLMODE", if self.is_secret { "require" } else { "disable" });
        command.arg("postgres");
        let before = way.pid.map(cpu_time);
        let output = command.output().expect("pgbench");
        let cpu = way.pid.zip(before).map(|(pid, before)| cpu_time(pid) - before);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("number of failed transactions: 0 "),
            "{}: {text}{}",
            way.name,
            String::from_utf8_lossy(&output.stderr)
        );
        let number = |label: &str| -> f64 {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(label))
                .expect("the line");
            line.split([' ', '/'])
                .next()
                .expect("a word")
                .parse()
                .expect("a number")
        };
        let latencies = latencies(directory.path());
        Figure {
            rate: number("tps = "),
            p50: quantile(&latencies, 0.5),
            p99: quantile(&latencies, 0.99),
            cpu: cpu.map_or(0.0, |cpu| {
                cpu.as_secs_f64() * 1e6 / number("number of transactions actually processed: ")
            }),
        }
    }
}

/// The latencies that pgbench wrote down, sorted, in microseconds (manual, pgbench, "Per-Transaction Logging").
fn latencies(directory: &Path) -> Vec<f64> {
    let files = fs::read_dir(directory)
        .expect("the directory")
        .map(|entry| entry.expect("an entry").path());
    let logs = files.filter(|path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("log."))
    });
    let mut all: Vec<f64> = logs
        .flat_map(|log| {
            let text = fs::read_to_string(log).expect("the log");
            let times: Vec<f64> = text
                .lines()
                .filter_map(|line| line.split(' ').nth(2)?.parse().ok())
                .collect();
            times
        })
        .collect();
    all.sort_by(f64::total_cmp);
    all
}
