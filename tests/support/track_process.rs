//! `bemi track` as a process of its own, which can be killed.

use std::fs::File;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bemi::demo::cluster::Cluster;
use rustix::process::{Pid, Signal, kill_process};

/// How the process is started, and the one that runs.
pub struct TrackProcess {
    arguments: Vec<String>,
    child: Child,
    log: tempfile::NamedTempFile,
}

impl TrackProcess {
    /// Follows `source`, and stores in `destination` if there is one.
    pub fn start(source: &str, destination: Option<&str>, more: &[&str]) -> Self {
        let mut arguments = vec!["track".to_owned(), "--source".to_owned(), source.to_owned()];
        if let Some(destination) = destination {
            arguments.extend(["--destination".to_owned(), destination.to_owned()]);
        }
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let log = tempfile::NamedTempFile::new().expect("a log");
        let child = spawn(&arguments, &log);
        Self {
            arguments,
            child,
            log,
        }
    }

    /// From a database of this server to the same one.
    pub fn on(cluster: &Cluster, database: &str, more: &[&str]) -> Self {
        Self::start(&cluster.url(database, &[("sslmode", "disable")]), None, more)
    }

    /// Starts it as before, and with these arguments besides, once the one before has ended.
    pub fn start_again(&mut self, more: &[&str]) {
        assert!(self.ended().is_some(), "it still runs");
        let more = more.iter().map(|&argument| argument.to_owned());
        let arguments: Vec<String> = self.arguments.iter().cloned().chain(more).collect();
        self.child = spawn(&arguments, &self.log);
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("it takes signals");
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) {
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .expect("it can be killed");
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    /// Waits for its end.
    pub fn end_within(&mut self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it has said so far, in all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).expect("the log")
    }
}

impl Drop for TrackProcess {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(arguments: &[String], log: &tempfile::NamedTempFile) -> Child {
    let output = || File::options().append(true).open(log.path()).expect("the log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bemi"));
    // It does not know what is the tests'.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"BEMI_")) {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(output())
        .stderr(output())
        .spawn()
        .expect("bemi")
}
