//! What stands in front of the server.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bemi::demo::cluster::{Account, Cluster};
use bemi::tls::generate::Generated;
use tempfile::TempDir;

use crate::program;
use crate::stage::{Options, PASSWORD};

/// For whoever starts slowly.
const PATIENCE: Duration = Duration::from_secs(20);

/// Each, and whether it can only pass TLS on as it is. Those that are compared have their turns one after the other.
pub const PEERS: [(&str, Starter, bool); 3] = [
    ("HAProxy", start_haproxy, true),
    ("PgBouncer", start_pgbouncer, false),
    ("bemi", start_bemi, false),
];

/// A process in between, which ends with this one.
pub struct Between {
    child: Child,
    pub port: u16,
    _directory: TempDir,
}

impl Between {
    /// Starts it, and returns when it listens.
    pub fn start(
        name: &str,
        starter: Starter,
        cluster: &Cluster,
        trust: &Generated,
        options: &Options,
    ) -> Self {
        let directory = directory(trust);
        let port = free_port();
        let child = starter(directory.path(), port, cluster, options)
            .spawn()
            .expect(name);
        wait_for(port, name);
        Self {
            child,
            port,
            _directory: directory,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        // Either it has ended, or it does now.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Writes the configuration, and returns the command: from files in a directory, at this port, in front of a server.
pub type Starter = fn(&Path, u16, &Cluster, &Options) -> Command;

/// A directory with the certificate, for a process that may not be ours.
fn directory(trust: &Generated) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("server.crt"), &trust.cert_pem).expect("the certificate");
    fs::write(directory.path().join("server.key"), &trust.key_pem).expect("the key");
    directory
}

/// In a session of its own, as services are: Linux shares the processor out by sessions first (`sched_autogroup`, see
/// sched(7)), and none of these should have to share with pgbench. The keyboard's interrupt does not reach another session,
/// so each has the kernel end it when this process has ended.
fn service(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "setsid"]).arg(program);
    command
}

fn start_pgbouncer(directory: &Path, port: u16, cluster: &Cluster, options: &Options) -> Command {
    let server = cluster.port();
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
    let mut command = service(&program::find(cluster, "pgbouncer"));
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

fn start_haproxy(directory: &Path, port: u16, cluster: &Cluster, options: &Options) -> Command {
    let server = cluster.port();
    let file = directory.join("haproxy.cfg");
    let text = format!(
        "global\n  maxconn {}\ndefaults\n  mode tcp\n  timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n\
         listen postgres\n  bind 127.0.0.1:{port} backlog 5000\n  server one 127.0.0.1:{server}\n",
        options.connections.max(100) + 10
    );
    fs::write(&file, text).expect("the configuration");
    let mut command = service(&program::find(cluster, "haproxy"));
    // In the foreground, one process.
    command.arg("-db").arg("-f").arg(&file).stdin(Stdio::null());
    command
}

fn start_bemi(directory: &Path, port: u16, cluster: &Cluster, options: &Options) -> Command {
    let server = cluster.port();
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
    let mut command = service(Path::new(env!("CARGO_BIN_EXE_bemi")));
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
