//! A fresh server, and the proxy in front of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bemi::demo::cluster::{Cluster, ClusterOptions};

use crate::suite::Suite;
use crate::support::program;
use crate::support::proxy::{self, RunningProxy};

/// How a suite reaches the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Direct,
    Proxied,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Proxied => "proxied",
        }
    }
}

/// A server that nobody has used yet.
pub struct Stage {
    cluster: Cluster,
    proxy: Option<RunningProxy>,
}

impl Stage {
    pub async fn set(way: Way, suite: &Suite) -> Result<Self, String> {
        // The messages are looked for at the end.
        let options = ClusterOptions::default().setting("wal_keep_size", "100GB");
        let cluster = Cluster::start(&options).map_err(|error| error.to_string())?;
        let proxy = match way {
            Way::Direct => None,
            Way::Proxied => Some(proxy::start_with(&cluster, |config| config.threads = suite.threads).await),
        };
        Ok(Self { cluster, proxy })
    }

    /// Where clients connect.
    pub fn port(&self) -> u16 {
        self.proxy
            .as_ref()
            .map_or_else(|| self.cluster.port(), RunningProxy::port)
    }

    pub fn bin_dir(&self) -> &Path {
        self.cluster.bin_dir()
    }

    /// A program of the server's that is there for testing extensions.
    pub fn test_program(&self, path: &str) -> Result<PathBuf, String> {
        let bin = self.cluster.bin_dir();
        ["../lib/pgxs", "../lib/postgresql/pgxs"]
            .iter()
            .map(|place| bin.join(place).join(path))
            .find(|program| program.is_file())
            .ok_or_else(|| format!("this server comes without {path}"))
    }

    /// Clients start their sessions with a context.
    pub fn options(suite: &str) -> String {
        program::option("bemi.context", &format!("{{\"suite\":\"{suite}\"}}"))
    }

    /// How many messages of ours are in the write-ahead log.
    pub fn messages(&self) -> Result<usize, String> {
        let log = self.cluster.data_dir().join("pg_wal");
        let mut segments: Vec<String> = fs::read_dir(&log)
            .map_err(|error| format!("{}: {error}", log.display()))?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .collect();
        segments.sort();
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
            return Err("there is no write-ahead log".to_owned());
        };
        // It complains about the end of the log, where there is nothing yet.
        let output = Command::new(program::find(&self.cluster, "pg_waldump"))
            .arg("--rmgr=LogicalMessage")
            .arg("--path")
            .arg(&log)
            .args([first, last])
            .output()
            .map_err(|error| format!("pg_waldump: {error}"))?;
        Ok(program::text(&output.stdout)
            .lines()
            .filter(|line| line.contains("prefix \"_bemi\""))
            .count())
    }
}
