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

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

pub use account::Account;
pub use binaries::{Binaries, BinariesError, Version};
use guard::Guard;

/// How long a server may take to accept connections. Generous: a loaded build machine, not a laptop, sets the pace.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often `postmaster.pid` is looked at while waiting.
const POLL: Duration = Duration::from_millis(20);

/// How many free ports are tried. Between finding a port free and the server taking it another process may be faster.
const PORT_ATTEMPTS: usize = 10;

/// Longest directory whose socket still fits `sockaddr_un.sun_path` (104 bytes on macOS, 108 on Linux),
/// with the cluster's own name (`/bemi-pg-XXXXXX`) and `/.s.PGSQL.65535` and a NUL behind it.
const LONGEST_PARENT: usize = 104 - 15 - 16 - 1;

/// What every cluster runs with unless [`ClusterOptions::settings`] says otherwise.
///
/// Data that is thrown away need not survive a power failure. `synchronous_commit` stays on: logical decoding reads
/// only what has been flushed, and with it off a commit might not be readable yet when the client hears of it.
const BASE_SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("wal_level", "logical"),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("max_connections", "200"),
    ("max_replication_slots", "60"),
    ("max_wal_senders", "20"),
    ("shared_buffers", "32MB"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("max_prepared_transactions", "10"),
];

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

/// Where a cluster lives and as whom it runs.
#[derive(Debug)]
struct Place {
    dir: PathBuf,
    account: Option<Account>,
    binaries: Binaries,
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
        self.server = match self.place.start_server(self.port)? {
            Started::Ready(server) => server,
            Started::PortTaken => return Err(ClusterError::NoPort),
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

enum Started {
    Ready(Child),
    PortTaken,
}

impl Place {
    /// Makes the directory and its guard. From here on nothing is left behind.
    fn create(binaries: Binaries) -> Result<(Self, Guard), ClusterError> {
        let dir = tempfile::Builder::new()
            .prefix("bemi-pg-")
            .tempdir_in(parent_directory())
            .map_err(|source| failed("make a directory for the throw-away server", source))?;
        let owner = fs::metadata(dir.path())
            .map_err(|source| failed("look at the new directory", source))?
            .uid();
        let account = if owner == 0 {
            Some(Account::unprivileged().ok_or(ClusterError::NoAccount)?)
        } else {
            None
        };
        if let Some(account) = &account {
            account
                .own(dir.path())
                .map_err(|source| failed("hand the directory over", source))?;
        }
        let guard =
            Guard::watch(dir.path(), account.as_ref()).map_err(|source| failed("start /bin/sh", source))?;
        // The guard removes it from now on.
        let dir = dir.keep();
        Ok((
            Self {
                dir,
                account,
                binaries,
            },
            guard,
        ))
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    /// A program of the installation, as the unprivileged account, with an environment that sways nothing.
    fn command(&self, program: &str) -> Command {
        let mut command = self.binaries.command(program);
        command.current_dir(&self.dir).stdin(Stdio::null());
        if let Some(account) = &self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }

    fn run(&self, program: &'static str, arguments: &[&OsStr]) -> Result<(), ClusterError> {
        let output = self
            .command(program)
            .args(arguments)
            .output()
            .map_err(|source| failed(&format!("run {program}"), source))?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8([output.stdout, output.stderr].concat())
            .unwrap_or_else(|error| error.as_bytes().escape_ascii().to_string());
        Err(ClusterError::Program {
            program,
            output: last_lines(&text),
        })
    }

    fn initdb(&self, options: &ClusterOptions) -> Result<(), ClusterError> {
        let data = self.data_dir();
        let password_file = self.dir.join("password");
        let locale = format!("--locale={}", options.locale);
        let mut arguments = vec![
            OsStr::new("--no-sync"),
            OsStr::new("--auth=trust"),
            OsStr::new("--encoding=UTF8"),
            OsStr::new(&locale),
            OsStr::new("--username"),
            OsStr::new(&options.superuser),
            OsStr::new("--pgdata"),
            data.as_os_str(),
        ];
        if let Some(password) = &options.password {
            self.write(&password_file, password)?;
            arguments.extend([OsStr::new("--pwfile"), password_file.as_os_str()]);
        }
        self.run("initdb", &arguments)
    }

    fn configure(&self, options: &ClusterOptions) -> Result<(), ClusterError> {
        let socket_dir = self.dir.to_str().unwrap_or_default();
        self.append_settings(BASE_SETTINGS)?;
        self.append_settings(&[("unix_socket_directories", socket_dir)])?;
        if let Some(tls) = &options.tls {
            self.write_file("server.crt", &tls.cert_pem)?;
            self.write_file("server.key", &tls.key_pem)?;
            self.append_settings(&[("ssl", "on")])?;
            if let Some(authority) = &tls.client_ca_pem {
                self.write_file("root.crt", authority)?;
                self.append_settings(&[("ssl_ca_file", "root.crt")])?;
            }
        }
        if let Some(hba) = &options.hba {
            self.write_file("pg_hba.conf", hba)?;
        }
        let own: Vec<_> = options
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.append_settings(&own)
    }

    fn append_settings(&self, settings: &[(&str, &str)]) -> Result<(), ClusterError> {
        let path = self.data_dir().join("postgresql.conf");
        let mut text = fs::read_to_string(&path).map_err(|source| failed("read postgresql.conf", source))?;
        for (name, value) in settings {
            text.push_str(&setting_line(name, value));
        }
        self.write(&path, &text)
    }

    fn write_file(&self, name: &str, content: &str) -> Result<(), ClusterError> {
        self.write(&self.data_dir().join(name), content)
    }

    fn write(&self, path: &Path, content: &str) -> Result<(), ClusterError> {
        let what = || format!("write {}", path.display());
        let wrap = |source| failed(&what(), source);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .map_err(wrap)?;
        io::Write::write_all(&mut file, content.as_bytes()).map_err(wrap)?;
        match &self.account {
            Some(account) => account.own(path).map_err(wrap),
            None => Ok(()),
        }
    }

    fn pg_ctl(&self, arguments: &[&str]) -> Result<(), ClusterError> {
        let data = self.data_dir();
        let mut all = vec![OsStr::new("--pgdata"), data.as_os_str()];
        all.extend(arguments.iter().map(OsStr::new));
        self.run("pg_ctl", &all)
    }

    fn start_on_a_free_port(&self) -> Result<(Child, u16), ClusterError> {
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port().map_err(|source| failed("find a free port on 127.0.0.1", source))?;
            match self.start_server(port)? {
                Started::Ready(server) => return Ok((server, port)),
                Started::PortTaken => continue,
            }
        }
        Err(ClusterError::NoPort)
    }

    fn start_server(&self, port: u16) -> Result<Started, ClusterError> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())
            .map_err(|source| failed("open the server's log", source))?;
        let before = log.metadata().map_or(0, |metadata| metadata.len());
        let output = log
            .try_clone()
            .map_err(|source| failed("open the server's log", source))?;
        let mut server = self
            .command("postgres")
            .arg("-D")
            .arg(self.data_dir())
            .arg("-p")
            .arg(port.to_string())
            .stdout(output)
            .stderr(log)
            // Ctrl-C reaches every process of the terminal's group; the guard decides when this one stops.
            .process_group(0)
            .spawn()
            .map_err(|source| failed("run postgres", source))?;
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.is_ready() {
            if let Some(_exit) = server
                .try_wait()
                .map_err(|source| failed("wait for the server", source))?
            {
                let log = self.log_since(before);
                return if is_about_a_taken_port(&log) {
                    Ok(Started::PortTaken)
                } else {
                    Err(ClusterError::DidNotStart {
                        log: last_lines(&log),
                    })
                };
            }
            if Instant::now() > deadline {
                return Err(ClusterError::NotReady {
                    log: last_lines(&self.log_since(before)),
                });
            }
            thread::sleep(POLL);
        }
        Ok(Started::Ready(server))
    }

    fn is_ready(&self) -> bool {
        fs::read_to_string(self.data_dir().join("postmaster.pid")).is_ok_and(|text| says_ready(&text))
    }

    fn log_since(&self, offset: u64) -> String {
        let bytes = fs::read(self.log_file()).unwrap_or_default();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let tail = bytes.get(start..).unwrap_or_default().to_vec();
        String::from_utf8(tail).unwrap_or_else(|error| error.as_bytes().escape_ascii().to_string())
    }
}

/// Where the cluster's directory is made: the usual place, unless a socket's path in there would be too long.
fn parent_directory() -> PathBuf {
    let usual = std::env::temp_dir();
    if usual.as_os_str().as_bytes().len() > LONGEST_PARENT {
        PathBuf::from("/tmp")
    } else {
        usual
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// One line of `postgresql.conf` (manual, "Parameter Interaction via the Configuration File": quotes are doubled;
/// guc-file.l also reads backslash escapes).
fn setting_line(name: &str, value: &str) -> String {
    format!("{name} = '{}'\n", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// Whether a `postmaster.pid` belongs to a server that takes connections: line 8 of miscadmin.h,
/// `LOCK_FILE_LINE_PM_STATUS`, padded with spaces.
fn says_ready(postmaster_pid: &str) -> bool {
    postmaster_pid
        .lines()
        .nth(7)
        .is_some_and(|status| status.trim() == "ready")
}

/// pqcomm.c, `ListenServerPort`: the port may also be taken by a socket of the same name.
fn is_about_a_taken_port(log: &str) -> bool {
    log.contains("Address already in use") || log.contains("could not create any TCP/IP sockets")
}

fn last_lines(text: &str) -> String {
    const LINES: usize = 15;
    let lines: Vec<_> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(LINES)..)
        .unwrap_or_default()
        .join("\n")
}

fn failed(what: &str, source: io::Error) -> ClusterError {
    ClusterError::Io {
        what: format!("could not {what}"),
        source,
    }
}

#[cfg(test)]
mod tests;
