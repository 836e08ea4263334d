//! A PgBouncer of a test's own.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bemi::demo::cluster::{Account, Cluster};
use tempfile::TempDir;

use super::program;

/// What a test may choose.
#[derive(Clone)]
pub struct Options {
    /// `transaction` or `session`.
    pub pool_mode: &'static str,
    /// How many server connections there are for everybody.
    pub pool_size: usize,
    /// More lines of its configuration.
    pub more: &'static str,
    /// Whether it is the one that keeps track of prepared statements, see [`has_newer`].
    pub is_newer: bool,
}

/// Whether scripts/install-pgbouncer.sh has built a PgBouncer that keeps track of prepared statements, as the one of the
/// distribution may not.
pub fn has_newer() -> bool {
    newer().is_file()
}

fn newer() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/pgbouncer/bin/pgbouncer")
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pool_mode: "transaction",
            pool_size: 1,
            more: "",
            is_newer: false,
        }
    }
}

/// A running PgBouncer; it ends with the test, and with the test's process.
pub struct PgBouncer {
    /// A shell that ends PgBouncer as soon as its standard input, which only this process holds, is closed.
    guard: Child,
    port: u16,
    _directory: TempDir,
}

impl PgBouncer {
    /// Starts one in front of a port on 127.0.0.1, which all clients reach as `postgres`, whoever they are.
    pub fn start(cluster: &Cluster, server_port: u16, options: &Options) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let file = directory.path().join("pgbouncer.ini");
        let log = directory.path().join("pgbouncer.log");
        let configuration = format!(
            "[databases]\n\
             * = host=127.0.0.1 port={server_port} user=postgres\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {}\ndefault_pool_size = {}\nserver_round_robin = 1\nlogfile = {}\n{}\n",
            options.pool_mode,
            options.pool_size,
            log.display(),
            options.more,
        );
        fs::write(&file, configuration).expect("a configuration");
        let program = if options.is_newer {
            // Whoever it runs as need not be able to get into the checkout.
            let copy = directory.path().join("pgbouncer");
            fs::copy(newer(), &copy).expect("a copy of PgBouncer");
            copy
        } else {
            program::find(cluster, "pgbouncer")
        };
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", r#""$0" --quiet "$1" & cat >/dev/null; kill -KILL $!; wait"#])
            .arg(program)
            .arg(&file)
            .stdin(Stdio::piped());
        // PgBouncer refuses to run as root.
        if fs::metadata(directory.path()).expect("a directory").uid() == 0 {
            let account = Account::unprivileged().expect("an account that is not root");
            for path in [directory.path(), &file] {
                account.own(path).expect("the file handed over");
            }
            shell.uid(account.uid).gid(account.gid);
        }
        let guard = shell.spawn().expect("a shell");
        let bouncer = Self {
            guard,
            port,
            _directory: directory,
        };
        bouncer.wait_until_it_listens(&log);
        bouncer
    }

    /// Its TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn wait_until_it_listens(&self, log: &std::path::Path) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let log = fs::read_to_string(log).unwrap_or_default();
            assert!(Instant::now() < deadline, "PgBouncer does not listen: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // It ends either way; this only takes the exit code.
        let _ = self.guard.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
