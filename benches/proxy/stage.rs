//! The server, and the ways to it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use bemi::demo::cluster::{Cluster, ClusterOptions, ServerTls};
use bemi::tls::generate::{Generated, authority_and_server};

use crate::peers::{Between, PEERS};
use crate::program;

/// Of the first role, for the ways that ask for it.
pub const PASSWORD: &str = "secret";

/// Where a load can be sent.
#[derive(Clone, Debug)]
pub struct Way {
    pub name: &'static str,
    pub port: u16,
    /// The process in between.
    pub pid: Option<u32>,
}

/// How the ways are set up.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// Clients speak TLS.
    pub client_tls: bool,
    /// The server is spoken to by TLS.
    pub server_tls: bool,
    /// Passwords are asked for (SCRAM); else everybody is trusted.
    pub password: bool,
    /// Connections there may be.
    pub connections: usize,
}

/// A server, and the peers in front of it.
pub struct Stage {
    pub cluster: Cluster,
    /// The certificate, PEM, of who signed those of the server and the peers.
    pub authority: String,
    /// Directly, and through each of those in between.
    pub ways: Vec<Way>,
    pub pgbench: PathBuf,
    pub psql: PathBuf,
    _between: Vec<Between>,
}

impl Stage {
    /// What a page should say about the machine.
    pub fn describe() -> String {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let version = |program: &str, argument: &str| -> String {
            let output = Command::new(program).arg(argument).output();
            let text = output
                .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
                .unwrap_or_default()
                .replace("psql (PostgreSQL)", "PostgreSQL");
            let line = text.lines().next().unwrap_or("?");
            line.split(" (")
                .next()
                .unwrap_or(line)
                .split(" 20")
                .next()
                .unwrap_or(line)
                .to_owned()
        };
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name\t: "))
            .unwrap_or("unknown processor")
            .to_owned();
        format!(
            "{cores} cores ({model}); everything on this machine: {}, {}, {}, bemi {}.",
            version("psql", "--version"),
            version("pgbouncer", "--version"),
            version("/usr/sbin/haproxy", "-v"),
            env!("CARGO_PKG_VERSION"),
        )
    }

    /// Starts all of them.
    ///
    /// # Panics
    /// When one does not start.
    pub fn set(options: &Options) -> Self {
        let trust = authority_and_server(&["localhost", "127.0.0.1"]).expect("a certificate");
        let cluster = start_server(&trust, options);
        let mut ways = vec![Way {
            name: "direct",
            port: cluster.port(),
            pid: None,
        }];
        let mut between = Vec::new();
        for (name, starter, passes_tls_on) in PEERS {
            if passes_tls_on && options.client_tls != options.server_tls {
                continue;
            }
            let peer = Between::start(name, starter, &cluster, &trust, options);
            ways.push(Way {
                name,
                port: peer.port,
                pid: Some(peer.pid()),
            });
            between.push(peer);
        }
        Self {
            pgbench: program::find(&cluster, "pgbench"),
            psql: program::find(&cluster, "psql"),
            cluster,
            authority: trust.ca_pem,
            ways,
            _between: between,
        }
    }

    /// Runs SQL directly. Returns what it printed.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("postgres", sql)
    }

    /// The same in another database.
    pub fn sql_in(&self, database: &str, sql: &str) -> String {
        let output = Command::new(&self.psql)
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h"])
            .arg(self.cluster.socket_dir())
            .args([
                "-p",
                &self.cluster.port().to_string(),
                "-U",
                "postgres",
                "-d",
                database,
                "-c",
                sql,
            ])
            .output()
            .expect("psql");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Returns when the clients of the way before have left, and PgBouncer has let go of the server.
    pub fn wait_until_quiet(&self) {
        let others = "SELECT count(*) FROM pg_stat_activity \
                      WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        while self.sql(others) != "0" {
            sleep(Duration::from_millis(100));
        }
    }
}

fn start_server(trust: &Generated, options: &Options) -> Cluster {
    let connections = options.connections.max(100);
    let method = if options.password {
        "scram-sha-256"
    } else {
        "trust"
    };
    let mut settings = ClusterOptions::default()
        .setting("max_connections", &(2 * connections + 10).to_string())
        .setting("shared_buffers", "512MB")
        .setting("max_wal_size", "8GB")
        .setting("autovacuum", "off");
    settings.password = Some(PASSWORD.to_owned());
    settings.hba = Some(format!(
        "local all all trust\nhost all all 127.0.0.1/32 {method}\n"
    ));
    settings.tls = Some(ServerTls {
        cert_pem: trust.cert_pem.clone(),
        key_pem: trust.key_pem.clone(),
        client_ca_pem: None,
    });
    Cluster::start(&settings).expect("a throw-away server")
}
