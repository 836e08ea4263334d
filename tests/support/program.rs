//! Client programs that tests run beside the server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bemi::demo::cluster::Cluster;

/// The path of a program: beside the server, in PATH, in /usr/sbin (not in every user's PATH), or where Debian puts
/// PostgreSQL's own.
pub fn find(cluster: &Cluster, name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    [cluster.bin_dir().to_path_buf()]
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .chain(debian.flatten().map(|version| version.path().join("bin")))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("no {name}; scripts/install-test-tools.sh installs it"))
}

/// A libpq program that connects to 127.0.0.1 as `postgres`, in an environment that sways nothing.
pub fn libpq(cluster: &Cluster, name: &str, port: u16, database: &str) -> Command {
    let mut command = Command::new(find(cluster, name));
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", port.to_string())
        .env("PGUSER", "postgres")
        .env("PGDATABASE", database)
        .env("PGSSLMODE", "disable")
        .stdin(Stdio::null());
    command
}

/// Runs a program to its end without keeping the test's runtime from working.
pub async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().expect("the program runs"))
        .await
        .expect("no panic")
}

/// Runs a program that reads this as its standard input.
pub async fn run_with_input(mut command: Command, input: &[u8]) -> Output {
    let file = tempfile(input);
    command.stdin(file);
    run(command).await
}

fn tempfile(content: &[u8]) -> fs::File {
    use std::io::{Seek, Write};
    let mut file = ::tempfile::tempfile().expect("a temporary file");
    file.write_all(content).expect("written");
    file.rewind().expect("rewound");
    file
}

/// What a program printed, which is text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap_or_else(|error| error.as_bytes().escape_ascii().to_string())
}

/// A value for PGOPTIONS (`pg_split_opts` in `postinit.c`: a backslash takes the next byte literally).
pub fn option(name: &str, value: &str) -> String {
    let escaped = value.replace('\\', r"\\").replace(' ', r"\ ");
    format!("-c {name}={escaped}")
}

/// The content of a file, for comparing what programs wrote.
pub fn content(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
