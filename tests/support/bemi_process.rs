//! The program itself, as a user starts it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running `bemi proxy`, killed when dropped.
pub struct BemiProcess {
    process: Child,
    port: u16,
}

impl BemiProcess {
    /// `bemi proxy` in front of what this URL says, with more arguments, which may name files of `directory`.
    pub fn start(upstream: &str, directory: &Path, more: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_bemi"))
            .args(["proxy", "--listen", "127.0.0.1:0"])
            .args(more)
            .current_dir(directory)
            .env("BEMI_UPSTREAM", upstream)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("bemi");
        let mut log = BufReader::new(process.stderr.take().expect("standard error")).lines();
        let port = log
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, address) = line.split_once("listen=\"127.0.0.1:")?;
                address.split('"').next()?.parse().ok()
            })
            .expect("it says where it listens");
        // A full pipe would stop it. What it warns of belongs to the report.
        std::thread::spawn(move || {
            for line in log.map_while(Result::ok) {
                if line.contains("WARN") || line.contains("ERROR") || line.contains("panicked") {
                    println!("bemi: {line}");
                }
            }
        });
        Self { process, port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for BemiProcess {
    fn drop(&mut self) {
        // It may have ended by itself, which the suites have noticed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
