//! One run of pgbench.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::figures::{cpu_time, quantile};
use crate::stage::{PASSWORD, Way};

/// Of the transactions, this share is written down with its latency: writing costs pgbench time.
const SAMPLED: &str = "0.2";

/// From this length on, in bytes, a script is so slow that all of its transactions are.
const LONG_SCRIPT: usize = 10_000;

/// How many times as long such a run takes: in two seconds there are a few dozen of them.
const STRETCH: u64 = 4;

/// Clients from which on a run takes longer to warm up: each has a process of the server, with caches of its own. And one
/// transaction of theirs may take two seconds, so that a run is stretched as well.
const CROWD: usize = 100;

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

    fn has_long_script(&self) -> bool {
        matches!(&self.script, Script::Own(text) if text.len() > LONG_SCRIPT)
    }

    fn sampled(&self) -> &'static str {
        if self.has_long_script() { "1" } else { SAMPLED }
    }

    fn stretch(&self) -> u64 {
        if self.clients < CROWD && !self.has_long_script() {
            1
        } else {
            STRETCH
        }
    }

    /// Seconds that do not count: connections are made, and caches filled.
    fn warm_up(&self) -> u64 {
        if self.clients < CROWD { 1 } else { 3 }
    }

    /// Runs it, for so many seconds that count, or four times as many where one transaction takes long.
    ///
    /// # Panics
    /// When pgbench fails, or a transaction does.
    pub fn run(&self, pgbench: &Path, way: &Way, seconds: u64) -> Figure {
        self.start(pgbench, way, "postgres", seconds).figure()
    }

    /// Starts a run in this database, and returns once what follows counts.
    ///
    /// # Panics
    /// When pgbench fails.
    pub fn start(&self, pgbench: &Path, way: &Way, database: &str, seconds: u64) -> Begun {
        let directory = tempfile::tempdir().expect("a directory");
        let seconds = self.duration(seconds);
        let mut child = self
            .command(pgbench, way.port, seconds, directory.path())
            .arg(database)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("pgbench");
        let mut begun = Begun {
            lines: BufReader::new(child.stderr.take().expect("its stderr")).lines(),
            child,
            directory,
            way: way.clone(),
            warm_up: self.warm_up(),
            seen: Vec::new(),
            said: String::new(),
            end: Instant::now(),
        };
        while (begun.seen.len() as u64) < begun.warm_up && begun.read_line() {}
        let age = begun.seen.last().map_or(0.0, |seen| seen.at);
        begun.end = Instant::now() + Duration::from_secs(seconds) - Duration::from_secs_f64(age);
        begun
    }

    /// In seconds, with those that do not count. The line of progress for the last second is not always printed, and two are
    /// needed.
    fn duration(&self, seconds: u64) -> u64 {
        self.warm_up() + seconds.max(2) * self.stretch()
    }

    fn command(&self, pgbench: &Path, port: u16, seconds: u64, log: &Path) -> Command {
        let mut command = Command::new(pgbench);
        command.args(["--no-vacuum", "-h", "127.0.0.1", "-U", "postgres", "-j", "1"]);
        command.args(["--progress", "1"]);
        command.args([
            "-p",
            &port.to_string(),
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
        command.arg(log.join("log"));
        match &self.script {
            Script::Builtin(name) => _ = command.args(["-b", name]),
            Script::Own(text) => {
                let file = log.join("script.sql");
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
        command
    }
}

/// A run that is under way.
pub struct Begun {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    directory: TempDir,
    way: Way,
    warm_up: u64,
    seen: Vec<Seen>,
    said: String,
    end: Instant,
}

impl Begun {
    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// When its time is over.
    pub fn end(&self) -> Instant {
        self.end
    }

    /// Waits for its end, and says what came out.
    ///
    /// # Panics
    /// When pgbench fails, or a transaction does.
    pub fn figure(mut self) -> Figure {
        self.finish();
        let latencies = latencies(self.directory.path(), self.warm_up);
        let (rate, cpu) = between(&self.seen[self.warm_up as usize - 1..]);
        Figure {
            rate,
            p50: quantile(&latencies, 0.5),
            p99: quantile(&latencies, 0.99),
            cpu,
        }
    }

    /// The same of one that was stopped as soon as it counted, and from then on was running only so long. Of latencies
    /// it says nothing, as they have the time in them that others had.
    ///
    /// # Panics
    /// When pgbench fails, or a transaction does.
    pub fn figure_of_turns(mut self, running: Duration) -> Figure {
        self.finish();
        let warm = self.seen[self.warm_up as usize - 1];
        let (_, all) = self.said.split_once("actually processed: ").expect("a summary");
        let all: f64 = all.lines().next().expect("a line").parse().expect("a number");
        let cold = Seen {
            at: 0.0,
            rate: 0.0,
            cpu: Duration::ZERO,
        };
        let before = transactions(&[&[cold], &self.seen[..self.warm_up as usize]].concat());
        let cpu = self.way.pid.map(cpu_time).unwrap_or_default() - warm.cpu;
        Figure {
            rate: (all - before) / running.as_secs_f64(),
            p50: f64::NAN,
            p99: f64::NAN,
            cpu: cpu.as_secs_f64() * 1e6 / (all - before),
        }
    }

    fn finish(&mut self) {
        while self.read_line() {}
        let mut summary = self.child.stdout.take().expect("its stdout");
        summary.read_to_string(&mut self.said).expect("text");
        let status = self.child.wait().expect("pgbench");
        assert!(
            status.success() && self.said.contains("number of failed transactions: 0 "),
            "{}: {}",
            self.way.name,
            self.said,
        );
    }

    /// Whether there was another.
    fn read_line(&mut self) -> bool {
        let Some(line) = self.lines.next() else {
            return false;
        };
        let line = line.expect("text");
        match progress(&line) {
            Some((at, rate)) => self.seen.push(Seen {
                at,
                rate,
                cpu: self.way.pid.map(cpu_time).unwrap_or_default(),
            }),
            None => self.said += &(line + "\n"),
        }
        true
    }
}

/// What a line of progress said, and the CPU time of the one in between at that moment.
#[derive(Clone, Copy)]
struct Seen {
    /// Seconds from the start.
    at: f64,
    /// Transactions a second since the line before.
    rate: f64,
    cpu: Duration,
}

/// `progress: 1.0 s, 12345.6 tps, ..`
fn progress(line: &str) -> Option<(f64, f64)> {
    let (at, rest) = line.strip_prefix("progress: ")?.split_once(" s, ")?;
    let (rate, _) = rest.split_once(" tps")?;
    Some((at.parse().ok()?, rate.parse().ok()?))
}

/// Transactions a second, and microseconds of CPU time a transaction, from the first line to the last.
fn between(seen: &[Seen]) -> (f64, f64) {
    let transactions = transactions(seen);
    let (first, last) = (&seen[0], &seen[seen.len() - 1]);
    let cpu = (last.cpu - first.cpu).as_secs_f64();
    (transactions / (last.at - first.at), cpu * 1e6 / transactions)
}

/// How many there were from the first line to the last.
fn transactions(seen: &[Seen]) -> f64 {
    let between = |pair: &[Seen]| pair[1].rate * (pair[1].at - pair[0].at);
    seen.windows(2).map(between).sum()
}

/// The latencies that pgbench wrote down once it was warm, sorted, in microseconds (manual, pgbench, "Per-Transaction
/// Logging").
fn latencies(directory: &Path, warm_up: u64) -> Vec<f64> {
    let files = fs::read_dir(directory)
        .expect("the directory")
        .map(|entry| entry.expect("an entry").path());
    let logs = files.filter(|path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("log."))
    });
    // When each transaction ended, and how long it took.
    let mut all: Vec<(f64, f64)> = logs
        .flat_map(|log| {
            let text = fs::read_to_string(log).expect("the log");
            text.lines().filter_map(ended).collect::<Vec<_>>()
        })
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let begin = all.first().map_or(0.0, |(at, _)| at + warm_up as f64 * 1e6);
    let mut counted: Vec<f64> = all
        .into_iter()
        .filter_map(|(at, latency)| (at >= begin).then_some(latency))
        .collect();
    counted.sort_by(f64::total_cmp);
    counted
}

/// `client transaction latency script seconds microseconds ..`: when the transaction ended, and its latency.
fn ended(line: &str) -> Option<(f64, f64)> {
    let mut fields = line.split(' ');
    let latency = fields.nth(2)?.parse().ok()?;
    let seconds: f64 = fields.nth(1)?.parse().ok()?;
    let microseconds: f64 = fields.next()?.parse().ok()?;
    Some((seconds * 1e6 + microseconds, latency))
}
