//! The directory of a throw-away server, and what is done in it: `initdb`, configuration, starting.

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

use super::guard::Guard;
use super::{Account, Binaries, ClusterError, ClusterOptions};

/// How long a server may take to accept connections. Generous: a loaded build machine, not a laptop, sets the pace.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often `postmaster.pid` is looked at while waiting.
const POLL: Duration = Duration::from_millis(20);

/// How many free ports are tried. Between finding a port free and the server taking it another process may be faster.
pub(super) const PORT_ATTEMPTS: usize = 10;

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

/// Where a cluster lives and as whom it runs.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    account: Option<Account>,
    pub(super) binaries: Binaries,
}

/// How starting a server went, where it was not an error.
pub(super) enum Started {
    Ready(Child),
    PortTaken,
}

impl Place {
    /// Makes the directory and its guard. From here on nothing is left behind.
    pub(super) fn create(binaries: Binaries) -> Result<(Self, Guard), ClusterError> {
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

    pub(super) fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub(super) fn log_file(&self) -> PathBuf {
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

    pub(super) fn initdb(&self, options: &ClusterOptions) -> Result<(), ClusterError> {
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

    pub(super) fn configure(&self, options: &ClusterOptions) -> Result<(), ClusterError> {
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

    pub(super) fn append_settings(&self, settings: &[(&str, &str)]) -> Result<(), ClusterError> {
        let path = self.data_dir().join("postgresql.conf");
        let mut text = fs::read_to_string(&path).map_err(|source| failed("read postgresql.conf", source))?;
        for (name, value) in settings {
            text.push_str(&setting_line(name, value));
        }
        self.write(&path, &text)
    }

    pub(super) fn write_file(&self, name: &str, content: &str) -> Result<(), ClusterError> {
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

    pub(super) fn pg_ctl(&self, arguments: &[&str]) -> Result<(), ClusterError> {
        let data = self.data_dir();
        let mut all = vec![OsStr::new("--pgdata"), data.as_os_str()];
        all.extend(arguments.iter().map(OsStr::new));
        self.run("pg_ctl", &all)
    }

    pub(super) fn start_on_a_free_port(&self) -> Result<(Child, u16), ClusterError> {
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port().map_err(|source| failed("find a free port on 127.0.0.1", source))?;
            match self.start_server(port)? {
                Started::Ready(server) => return Ok((server, port)),
                Started::PortTaken => continue,
            }
        }
        Err(ClusterError::NoPort)
    }

    pub(super) fn start_server(&self, port: u16) -> Result<Started, ClusterError> {
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
        while !self.is_ready(server.id()) {
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

    fn is_ready(&self, pid: u32) -> bool {
        fs::read_to_string(self.data_dir().join("postmaster.pid")).is_ok_and(|text| says_ready(&text, pid))
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
pub(super) fn setting_line(name: &str, value: &str) -> String {
    format!("{name} = '{}'\n", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// Whether a `postmaster.pid` belongs to the server with this process id, and it takes connections: lines 1 and 8 of
/// miscadmin.h, the latter `LOCK_FILE_LINE_PM_STATUS`, padded with spaces. One that was killed leaves its file behind.
pub(super) fn says_ready(postmaster_pid: &str, pid: u32) -> bool {
    let line = |number: usize| postmaster_pid.lines().nth(number).map(str::trim);
    line(0) == Some(&*pid.to_string()) && line(7) == Some("ready")
}

/// pqcomm.c, `ListenServerPort`: the port may also be taken by a socket of the same name.
pub(super) fn is_about_a_taken_port(log: &str) -> bool {
    log.contains("Address already in use") || log.contains("could not create any TCP/IP sockets")
}

pub(super) fn last_lines(text: &str) -> String {
    const LINES: usize = 15;
    let lines: Vec<_> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(LINES)..)
        .unwrap_or_default()
        .join("\n")
}

pub(super) fn failed(what: &str, source: io::Error) -> ClusterError {
    ClusterError::Io {
        what: format!("could not {what}"),
        source,
    }
}
