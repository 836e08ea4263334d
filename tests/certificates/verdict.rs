//! Asks psql and `Upstream::connect` the same question, with the very same connection string, in the same words: does a login come about?

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bemi::config::url::UpstreamUrl;
use bemi::proxy::stream::{Keepalive, Stream};
use bemi::proxy::upstream::Upstream;
use bemi::tls::upstream::UpstreamTls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Accepted, or why not.
#[derive(Debug)]
pub enum Verdict {
    Accepted,
    Refused(String),
}

impl Verdict {
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted)
    }

    pub fn reason(&self) -> &str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused(reason) => reason,
        }
    }
}

/// A connection string of the keyword form.
pub fn connection_string(pairs: &[(&str, &str)]) -> String {
    let quote = |value: &str| value.replace('\\', r"\\").replace('\'', r"\'");
    let words: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{key}='{}'", quote(value)))
        .collect();
    words.join(" ")
}

/// What psql says, whose home directory is `home`.
pub fn of_psql(connection_string: &str, home: &Path) -> Verdict {
    let output = without_libpq_variables("psql")
        .args([
            "--no-psqlrc",
            "--no-password",
            "--tuples-only",
            "--command",
            "SELECT 1",
            connection_string,
        ])
        .env("HOME", home)
        .output()
        .expect("psql (package postgresql-client) on PATH");
    if output.status.success() {
        Verdict::Accepted
    } else {
        Verdict::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

fn without_libpq_variables(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command
}

/// What psql says in the clear to a `bemi proxy` whose server this is, and whose home directory is `home`.
pub fn of_proxy(connection_string: &str, home: &Path) -> Verdict {
    let directory = tempfile::tempdir().expect("a directory for the socket");
    let listen = format!("unix:{}:6432", directory.path().display());
    let mut proxy = without_libpq_variables(env!("CARGO_BIN_EXE_bemi"))
        .args(["proxy", "--upstream", connection_string, "--listen", &listen])
        .env("HOME", home)
        .current_dir(directory.path())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the proxy");
    let socket = directory.path().join(".s.PGSQL.6432");
    let verdict = loop {
        if proxy.try_wait().expect("the proxy's state").is_some() {
            let mut reason = String::new();
            proxy
                .stderr
                .take()
                .expect("its words")
                .read_to_string(&mut reason)
                .expect("text");
            return Verdict::Refused(reason);
        }
        // The file is there a moment before anybody listens on it.
        if UnixStream::connect(&socket).is_ok() {
            let user = UpstreamUrl::parse(connection_string)
                .expect("it started")
                .user
                .expect("a user");
            let directory = directory.path().to_string_lossy().into_owned();
            let pairs = [
                ("host", directory.as_str()),
                ("port", "6432"),
                ("user", &user),
                ("dbname", "postgres"),
            ];
            break of_psql(&self::connection_string(&pairs), home);
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    proxy.kill().expect("it runs");
    proxy.wait().expect("it has ended");
    verdict
}

/// The major version of psql, and with it of its libpq.
pub fn psql_major() -> u32 {
    let output = Command::new("psql")
        .arg("--version")
        .output()
        .expect("psql on PATH");
    let text = String::from_utf8(output.stdout).expect("a version");
    let number = text
        .split_whitespace()
        .nth(2)
        .and_then(|version| version.split(['.', 'd', 'b', 'r']).next());
    number
        .and_then(|major| major.parse().ok())
        .expect("psql (PostgreSQL) 15.20")
}

/// What `Upstream::connect`, and a login after it, say.
pub async fn of_upstream(connection_string: &str, home: &Path) -> Verdict {
    match log_in(connection_string, home).await {
        Ok(_) => Verdict::Accepted,
        Err(reason) => Verdict::Refused(reason),
    }
}

pub fn upstream(connection_string: &str, home: &Path) -> Result<std::sync::Arc<Upstream>, String> {
    let url = UpstreamUrl::parse(connection_string).map_err(|error| error.to_string())?;
    let tls = UpstreamTls::build(&url, Some(home)).map_err(|error| error.to_string())?;
    Ok(Upstream::new(
        &url,
        tls,
        Keepalive::default(),
        Duration::from_secs(20),
    ))
}

/// Connects and logs in as the user of the connection string, who needs no password.
pub async fn log_in(connection_string: &str, home: &Path) -> Result<Stream, String> {
    let url = UpstreamUrl::parse(connection_string).map_err(|error| error.to_string())?;
    let upstream = upstream(connection_string, home)?;
    let mut stream = upstream
        .connect()
        .await
        .map_err(|error| error.to_string())?
        .stream;
    let user = url.user.expect("a user");
    start(&mut stream, &user).await?;
    Ok(stream)
}

/// Sends a startup packet and waits for `AuthenticationOk`.
pub async fn start(stream: &mut Stream, user: &str) -> Result<(), String> {
    let parameters = format!("user\0{user}\0database\0postgres\0\0");
    let length = u32::try_from(8 + parameters.len()).expect("short");
    let packet = [&length.to_be_bytes()[..], &[0, 3, 0, 0], parameters.as_bytes()].concat();
    stream
        .write_all(&packet)
        .await
        .map_err(|error| error.to_string())?;
    stream.flush().await.map_err(|error| error.to_string())?;
    let mut head = [0; 5];
    stream
        .read_exact(&mut head)
        .await
        .map_err(|error| error.to_string())?;
    let length = usize::from(head[3]) << 8 | usize::from(head[4]);
    let mut body = vec![0; length - 4];
    stream
        .read_exact(&mut body)
        .await
        .map_err(|error| error.to_string())?;
    match (head[0], body.as_slice()) {
        (b'R', [0, 0, 0, 0]) => Ok(()),
        (_, body) => Err(body.escape_ascii().to_string()),
    }
}
