//! The server, and what stands in front of it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bemi::demo::cluster::{Account, Cluster, ClusterOptions, ServerTls};
use tempfile::TempDir;

use crate::trust::Certificate;

/// Of the first role, for the ways that ask for it.
pub const PASSWORD: &str = "secret";

/// For whoever starts slowly.
const PATIENCE: Duration = Duration::from_secs(20);

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
    /// Directly, and through each of those in between.
    pub ways: Vec<Way>,
    pub pgbench: PathBuf,
    pub psql: PathBuf,
    _between: Vec<Between>,
}

/// A process that ends with this one.
struct Between {
    child: Child,
    _directory: TempDir,
}

impl Drop for Between {
    fn drop(&mut self) {
        // Either it has ended, or it does now.
        _ = self.child.kill();
        _ = self.child.wait();
    }
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
        let trust = Certificate::new();
        let connections = options.connections.max(100);
        let mut settings = ClusterOptions::default()
            .setting("max_connections", &(2 * connections + 10).to_string())
            .setting("shared_buffers", "512MB")
            .setting("max_wal_size", "8GB")
            .setting("autovacuum", "off");
        settings.password = Some(PASSWORD.to_owned());
        let method = if options.password {
            "scram-sha-256"
        } else {
            "trust"
        };
        settings.hba = Some(format!(
            "local all all trust\nhost all all 127.0.0.1/32 {method}\n"
        ));
        settings.tls = Some(ServerTls {
            cert_pem: trust.cert.clone(),
            key_pem: trust.key.clone(),
            client_ca_pem: None,
        });
        let cluster = Cluster::start(&settings).expect("a throw-away server");
        let program = |name: &str| {
            let beside = cluster.bin_dir().join(name);
            // Servers bundled without their clients leave these to the PATH.
            if beside.exists() {
                beside
            } else {
                PathBuf::from(name)
            }
        };
        let (pgbench, psql) = (program("pgbench"), program("psql"));
        let mut ways = vec![Way {
            name: "direct",
            port: cluster.port(),
            pid: None,
        }];
        let mut between = Vec::new();
        let all: [(&'static str, Starter); 3] = [
            ("PgBouncer", start_pgbouncer),
            ("HAProxy", start_haproxy),
            ("bemi", start_bemi),
        ];
        for (name, start) in all {
            // HAProxy passes TLS on as it is.
            if name == "HAProxy" && options.client_tls != options.server_tls {
                continue;
            }
            let directory = directory(&trust);
            let port = free_port();
            let child = start(directory.path(), port, cluster.port(), options)
                .spawn()
                .expect(name);
            wait_for(port, name);
            ways.push(Way {
                name,
                port,
                pid: Some(child.id()),
            });
            between.push(Between {
                child,
                _directory: directory,
            });
        }
        Self {
            cluster,
            ways,
            pgbench,
            psql,
            _between: between,
        }
    }

    /// Runs SQL directly. Returns what it printed.
    pub fn sql(&self, sql: &str) -> String {
        let output = Command::new(&self.psql)
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h"])
            .arg(self.cluster.socket_dir())
            .args([
                "-p",
                &self.cluster.port().to_string(),
                "-U",
                "postgres",
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

type Starter = fn(&Path, u16, u16, &Options) -> Command;

/// A directory with the certificate, for a process that may not be ours.
fn directory(trust: &Certificate) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("server.crt"), &trust.cert).expect("the certificate");
    fs::write(directory.path().join("server.key"), &trust.key).expect("the key");
    fs::write(
        directory.path().join("both.pem"),
        format!("{}{}", trust.cert, trust.key),
    )
    .expect("both");
    directory
}

fn start_pgbouncer(directory: &Path, port: u16, server: u16, options: &Options) -> Command {
    let file = directory.join("pgbouncer.ini");
    let users = directory.join("users.txt");
    let path = |name: &str| directory.join(name).display().to_string();
    let mut text = format!(
        "[databases]\n* = host=127.0.0.1 port={server}{}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir =\npool_mode = session\nserver_reset_query =\nmax_client_conn = {1}\n\
         default_pool_size = {1}\nauth_file = {2}\nauth_type = {3}\nlogfile = {4}\nignore_startup_parameters = options,extra_float_digits\n\
         server_idle_timeout = 1\nlog_connections = 0\nlog_disconnections = 0\nlisten_backlog = 5000\n",
        if options.password { "" } else { " user=postgres" },
        options.connections.max(100),
        users.display(),
        if options.password { "scram-sha-256" } else { "any" },
        path("pgbouncer.log"),
    );
    if options.client_tls {
        text.push_str(&format!(
            "client_tls_sslmode = allow\nclient_tls_cert_file = {}\nclient_tls_key_file = {}\n",
            path("server.crt"),
            path("server.key")
        ));
    }
    text.push_str(if options.server_tls {
        "server_tls_sslmode = require\n"
    } else {
        "server_tls_sslmode = disable\n"
    });
    fs::write(&file, text).expect("the configuration");
    fs::write(&users, format!("\"postgres\" \"{PASSWORD}\"\n")).expect("the users");
    let mut command = Command::new("pgbouncer");
    command.arg("--quiet").arg(&file).stdin(Stdio::null());
    // It refuses to run as root.
    if fs::metadata(directory).expect("the directory").uid() == 0 {
        let account = Account::unprivileged().expect("an account that is not root");
        account.own(directory).expect("the directory handed over");
        for entry in fs::read_dir(directory).expect("the directory") {
            account
                .own(&entry.expect("an entry").path())
                .expect("the file handed over");
        }
        command.uid(account.uid).gid(account.gid);
    }
    command
}

fn start_haproxy(directory: &Path, port: u16, server: u16, options: &Options) -> Command {
    let file = directory.join("haproxy.cfg");
    let text = format!(
        "global\n  maxconn {}\ndefaults\n  mode tcp\n  timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n\
         listen postgres\n  bind 127.0.0.1:{port} backlog 5000\n  server one 127.0.0.1:{server}\n",
        options.connections.max(100) + 10
    );
    fs::write(&file, text).expect("the configuration");
    let mut command = Command::new("/usr/sbin/haproxy");
    // In the foreground, one process.
    command.arg("-db").arg("-f").arg(&file).stdin(Stdio::null());
    command
}

fn start_bemi(directory: &Path, port: u16, server: u16, options: &Options) -> Command {
    let mode = if options.server_tls { "require" } else { "disable" };
    let file = directory.join("proxy.toml");
    let mut text = format!(
        "listen = [\"127.0.0.1:{port}\"]\n[upstream]\nurl = \"postgresql://127.0.0.1:{server}/?sslmode={mode}&gssencmode=disable\"\n\
         [limits]\nmax_connections = {}\n",
        options.connections.max(100)
    );
    if options.client_tls {
        let path = |name: &str| directory.join(name).display().to_string();
        text.push_str(&format!(
            "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
            path("server.crt"),
            path("server.key")
        ));
        if options.server_tls && options.password {
            text.push_str("[auth]\nmode = \"password\"\n");
        }
    }
    fs::write(&file, text).expect("the configuration");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bemi"));
    command
        .arg("proxy")
        .arg("--config")
        .arg(&file)
        .stdin(Stdio::null())
        .env("BEMI_LOG_LEVEL", "warn");
    command
}

fn wait_for(port: u16, name: &str) {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(Instant::now() < deadline, "{name} does not listen");
        sleep(Duration::from_millis(20));
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
