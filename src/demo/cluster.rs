//! A throw-away PostgreSQL server, for `bemi demo` and for tests.
//!
//! **Problem.** A demonstration and a test suite must talk to a real server, on any machine, also in a container
//! where everything runs as root, and must leave neither a process nor a file behind, however they end.
//!
//! **Mechanism.** [`Cluster::start`] makes a directory, hands it to an unprivileged account when we are root
//! (`postgres` refuses to run as root), and starts a *guard* before anything else: a tiny shell whose standard
//! input is a pipe that only this process holds. When the [`Cluster`] is dropped, and just as well when this
//! process panics, is interrupted or is killed with `kill -9`, that pipe closes; the guard then stops the server at
//! once and removes the directory. There is one way to clean up, and it is the same in every case.
//!
//! The one thing that defeats it is killing the guard itself with `SIGKILL` (it ignores the gentler signals).
//!
//! Whether the server is ready is read from the last line of `postmaster.pid`, as `pg_ctl -w` does, so that neither
//! `psql` nor `pg_isready` is needed and no login has to work.
//!
//! **Rejected.** `pg_ctl start`: the server would be nobody's child, its exit code lost. A `Drop` alone: statics are
//! not dropped, and signals run no destructors. `PR_SET_PDEATHSIG`: Linux only, and needs `unsafe`.

mod account;
mod binaries;
mod guard;
mod place;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

pub use account::Account;
pub use binaries::{Binaries, BinariesError, Version};
use guard::Guard;
use place::{PORT_ATTEMPTS, Place, START_TIMEOUT, Started, failed};

/// What a server says whose predecessor was killed, and left processes behind (sysv_shmem.c, `PGSharedMemoryCreate`).
const MEMORY_IN_USE: &str = "pre-existing shared memory block";

/// What went wrong with a throw-away cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No usable server installation.
    #[error(transparent)]
    Binaries(#[from] BinariesError),
    /// We are root and there is no other account to run the server as.
    #[error(
        "PostgreSQL refuses to run as root, and /etc/passwd has no other account to run it as; add one: useradd postgres"
    )]
    NoAccount,
    /// A file or process operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted, to what.
        what: String,
        /// The reason the operating system gave.
        source: io::Error,
    },
    /// A program of the server installation ended with an error.
    #[error("{program} failed: {output}")]
    Program {
        /// The program.
        program: &'static str,
        /// What it printed.
        output: String,
    },
    /// The server stopped by itself while starting.
    #[error("the throw-away server did not start; its log ends with:\n{log}")]
    DidNotStart {
        /// The last lines of its log.
        log: String,
    },
    /// The server runs, but was not ready in time.
    #[error("the throw-away server was not ready after {} s; its log ends with:\n{log}", START_TIMEOUT.as_secs())]
    NotReady {
        /// The last lines of its log.
        log: String,
    },
    /// Every port tried was taken by someone else at the last moment.
    #[error("no free TCP port on 127.0.0.1 after {PORT_ATTEMPTS} attempts")]
    NoPort,
}

/// The certificate of a throw-away server, PEM.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// The server's certificate, with any intermediate certificates behind it (`ssl_cert_file`).
    pub cert_pem: String,
    /// Its private key (`ssl_key_file`).
    pub key_pem: String,
    /// The authority of client certificates (`ssl_ca_file`), where `pg_hba.conf` asks for them.
    pub client_ca_pem: Option<String>,
}

/// How to set a cluster up. `ClusterOptions::default()` is a good server for most tests.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Where `initdb`, `pg_ctl` and `postgres` are; `None` searches (see [`Binaries::find`]).
    pub bin_dir: Option<PathBuf>,
    /// Settings for `postgresql.conf`, over the base ones; a later entry wins.
    pub settings: Vec<(String, String)>,
    /// The whole of `pg_hba.conf`; `None` trusts everybody, locally and on 127.0.0.1.
    pub hba: Option<String>,
    /// Switches TLS on.
    pub tls: Option<ServerTls>,
    /// Name of the first role.
    pub superuser: String,
    /// Its password. Asked for only where `hba` does.
    pub password: Option<String>,
    /// Locale of the databases. `C.UTF-8` is on every glibc; elsewhere `C` always is.
    pub locale: String,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            bin_dir: None,
            settings: Vec::new(),
            hba: None,
            tls: None,
            superuser: "postgres".to_owned(),
            password: None,
            locale: if cfg!(target_os = "linux") { "C.UTF-8" } else { "C" }.to_owned(),
        }
    }
}

impl ClusterOptions {
    /// Adds a line to `postgresql.conf`; the value needs no quotes.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running throw-away server. Dropping it stops the server and removes its files.
///
/// The calls block (starting takes a second or two); they may be made from asynchronous tests, not from a busy
/// runtime's worker.
#[derive(Debug)]
pub struct Cluster {
    server: Child,
    place: Place,
    port: u16,
    superuser: String,
    password: Option<String>,
    // Last: its drop stops the server and removes the directory.
    guard: Guard,
}

impl Cluster {
    /// Makes and starts a cluster, and returns when it accepts connections.
    ///
    /// # Errors
    /// [`ClusterError`]; whatever had been made by then is removed.
    pub fn start(options: &ClusterOptions) -> Result<Self, ClusterError> {
        let binaries = Binaries::find(options.bin_dir.as_deref())?;
        let (place, guard) = Place::create(binaries)?;
        place.initdb(options)?;
        place.configure(options)?;
        let (server, port) = place.start_on_a_free_port()?;
        Ok(Self {
            server,
            place,
            port,
            superuser: options.superuser.clone(),
            password: options.password.clone(),
            guard,
        })
    }

    /// The TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the unix socket; a client takes it as its host.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.place.dir
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.place.data_dir()
    }

    /// Where the server's programs are.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        self.place.binaries.dir()
    }

    /// The first role of the cluster.
    #[must_use]
    pub fn superuser(&self) -> &str {
        &self.superuser
    }

    /// The version of the server's programs.
    #[must_use]
    pub fn server_version(&self) -> &Version {
        self.place.binaries.version()
    }

    /// A URL to `database` on 127.0.0.1 as the superuser, with its password if it has one.
    #[must_use]
    pub fn url(&self, database: &str, params: &[(&str, &str)]) -> String {
        let quote = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let password = self
            .password
            .as_deref()
            .map(|word| format!(":{}", quote(word)))
            .unwrap_or_default();
        let mut url = format!(
            "postgresql://{}{password}@127.0.0.1:{}/{}",
            quote(&self.superuser),
            self.port,
            quote(database)
        );
        for (position, (name, value)) in params.iter().enumerate() {
            url.push(if position == 0 { '?' } else { '&' });
            url.push_str(&format!("{name}={}", quote(value)));
        }
        url
    }

    /// What the server has logged so far.
    ///
    /// # Errors
    /// When the log cannot be read, or holds bytes that are no UTF-8.
    pub fn log(&self) -> io::Result<String> {
        fs::read_to_string(self.place.log_file())
    }

    /// Writes a file into the data directory, readable by the server alone: `pg_hba.conf`, `server.crt`, `server.key`, ...
    /// The server sees it after [`Cluster::reload`].
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_file(&self, name: &str, content: &str) -> Result<(), ClusterError> {
        self.place.write_file(name, content)
    }

    /// Changes one setting in `postgresql.conf`, and reloads. Some settings need [`Cluster::restart`] as well.
    ///
    /// # Errors
    /// When the file cannot be written or the server cannot be told.
    pub fn set(&self, name: &str, value: &str) -> Result<(), ClusterError> {
        self.place.append_settings(&[(name, value)])?;
        self.reload()
    }

    /// Makes the server read its configuration again. It does so a few milliseconds after this returns.
    ///
    /// # Errors
    /// When the server cannot be told.
    pub fn reload(&self) -> Result<(), ClusterError> {
        self.place.pg_ctl(&["reload"])
    }

    /// Stops the server, ending every connection, and starts it again on the same port and data.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn restart(&mut self) -> Result<(), ClusterError> {
        self.place.pg_ctl(&["stop", "--mode=fast", "--wait"])?;
        self.server
            .wait()
            .map_err(|source| failed("wait for the server", source))?;
        self.start_again()
    }

    /// Kills the postmaster with `SIGKILL`, as the kernel does when memory runs out. What it started notices, and leaves
    /// by itself.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> Result<(), ClusterError> {
        let killed = self.server.kill().and_then(|()| self.server.wait());
        killed
            .map(drop)
            .map_err(|source| failed("kill the server", source))
    }

    /// Stops the server without a checkpoint: the next start is a recovery.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn stop_immediately(&mut self) -> Result<(), ClusterError> {
        self.place.pg_ctl(&["stop", "--mode=immediate", "--wait"])?;
        let left = self.server.wait();
        left.map(drop)
            .map_err(|source| failed("wait for the server", source))
    }

    /// Starts a server that was killed or stopped, on the same port and data.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_again(&mut self) -> Result<(), ClusterError> {
        let deadline = Instant::now() + START_TIMEOUT;
        self.server = loop {
            match self.place.start_server(self.port) {
                Ok(Started::Ready(server)) => break server,
                // Whoever outlives a killed postmaster holds its memory and its port for a moment.
                Err(ClusterError::DidNotStart { log })
                    if log.contains(MEMORY_IN_USE) && Instant::now() < deadline => {}
                Ok(Started::PortTaken) if Instant::now() < deadline => {}
                Ok(Started::PortTaken) => return Err(ClusterError::NoPort),
                Err(error) => return Err(error),
            }
            thread::sleep(Duration::from_millis(50));
        };
        Ok(())
    }

    /// Stops the server at once and removes its files, as dropping does; here one can see it done.
    pub fn stop(self) {}
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.guard.release();
        // The guard has stopped it; this only takes the exit code, so that no zombie remains.
        let _ = self.server.wait();
    }
}

#[cfg(test)]
mod tests;
