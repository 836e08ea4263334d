//! Where PostgreSQL's server programs are. Debian keeps them out of PATH, others do not.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest server that bemi supports (`in_hot_standby` is reported since 14).
const OLDEST_MAJOR: u32 = 14;

/// The programs a cluster needs.
const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// Places where packages install several versions side by side: parent, prefix of the version's directory, rest.
const VERSIONED: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/local", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
];

/// Why there is no server to start.
#[derive(Debug, thiserror::Error)]
pub enum BinariesError {
    /// Nothing found where servers are installed.
    #[error(
        "no PostgreSQL server found (initdb, pg_ctl, postgres): install one, on Debian and Ubuntu with \
         `scripts/install-postgres.sh` or `apt-get install postgresql`, or name its directory in BEMI_PG_BIN"
    )]
    NotFound,
    /// The directory that was named is not one.
    #[error("{dir} has no {program}: BEMI_PG_BIN must name the directory of PostgreSQL's server programs")]
    Incomplete {
        /// The directory.
        dir: PathBuf,
        /// What it lacks.
        program: &'static str,
    },
    /// Too old.
    #[error(
        "{dir} holds PostgreSQL {version}; {OLDEST_MAJOR} or newer is needed: install one, or name it in BEMI_PG_BIN"
    )]
    TooOld {
        /// The directory.
        dir: PathBuf,
        /// What is there.
        version: Version,
    },
    /// It does not run.
    #[error("{program} does not run: {reason}")]
    DoesNotRun {
        /// The program.
        program: PathBuf,
        /// What happened.
        reason: String,
    },
}

/// A server version as its programs print it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// 15 of 15.20.
    pub major: u32,
    /// `15.20`, `18beta1`.
    pub text: String,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// An installation of the server.
#[derive(Clone, Debug)]
pub struct Binaries {
    dir: PathBuf,
    /// Goes into `LD_LIBRARY_PATH`, for relocated bundles that do not find their own libpq.
    lib: Option<PathBuf>,
    version: Version,
}

impl Binaries {
    /// Finds an installation: `dir` if given, else `BEMI_PG_BIN`, else the first of PATH, the newest where packages
    /// install, and what `pg_config` says, that is new enough.
    ///
    /// Libraries come from `BEMI_PG_LIB` (not for `dir`, which may be another version than the variable means), or
    /// from `lib` beside the programs when libpq is there.
    ///
    /// # Errors
    /// [`BinariesError`] says what to install.
    pub fn find(dir: Option<&Path>) -> Result<Self, BinariesError> {
        if let Some(dir) = dir {
            return Self::at(dir.to_path_buf(), None);
        }
        let lib = env::var_os("BEMI_PG_LIB").map(PathBuf::from);
        if let Some(dir) = env::var_os("BEMI_PG_BIN") {
            return Self::at(PathBuf::from(dir), lib);
        }
        let mut too_old = None;
        for dir in candidates()
            .into_iter()
            .filter(|dir| missing_program(dir).is_none())
        {
            match Self::at(dir, lib.clone()) {
                Ok(found) => return Ok(found),
                Err(error) => too_old = too_old.or(Some(error)),
            }
        }
        Err(too_old.unwrap_or(BinariesError::NotFound))
    }

    fn at(dir: PathBuf, lib: Option<PathBuf>) -> Result<Self, BinariesError> {
        if let Some(program) = missing_program(&dir) {
            return Err(BinariesError::Incomplete { dir, program });
        }
        let lib = lib.or_else(|| libraries_beside(&dir));
        let version = version_of(&dir, lib.as_deref())?;
        if version.major < OLDEST_MAJOR {
            return Err(BinariesError::TooOld { dir, version });
        }
        Ok(Self { dir, lib, version })
    }

    /// Where the programs are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What they are.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// One of the programs, in English and free of the caller's `PG...` variables.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        command(&self.dir.join(program), self.lib.as_deref())
    }
}

fn command(program: &Path, lib: Option<&Path>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C").env_remove("LANGUAGE");
    if let Some(lib) = lib {
        command.env("LD_LIBRARY_PATH", lib);
    }
    command
}

fn missing_program(dir: &Path) -> Option<&'static str> {
    PROGRAMS.into_iter().find(|program| !dir.join(program).is_file())
}

fn libraries_beside(bin: &Path) -> Option<PathBuf> {
    let beside = bin.join("../lib");
    let has_libpq = fs::read_dir(&beside)
        .ok()?
        .flatten()
        .any(|entry| entry.file_name().as_encoded_bytes().starts_with(b"libpq.so"));
    has_libpq.then_some(beside)
}

fn version_of(dir: &Path, lib: Option<&Path>) -> Result<Version, BinariesError> {
    let program = dir.join("postgres");
    let broken = |reason: String| BinariesError::DoesNotRun {
        program: program.clone(),
        reason,
    };
    let output = command(&program, lib)
        .arg("--version")
        .output()
        .map_err(|error| broken(error.to_string()))?;
    if !output.status.success() {
        return Err(broken(output.stderr.escape_ascii().to_string()));
    }
    std::str::from_utf8(&output.stdout)
        .ok()
        .and_then(parse_version)
        .ok_or_else(|| broken(format!("it calls itself {}", output.stdout.escape_ascii())))
}

/// `postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)`.
fn parse_version(line: &str) -> Option<Version> {
    let text = line
        .strip_prefix("postgres (PostgreSQL) ")?
        .split_whitespace()
        .next()?;
    let digits = text
        .find(|symbol: char| !symbol.is_ascii_digit())
        .unwrap_or(text.len());
    let major = text.get(..digits)?.parse().ok()?;
    Some(Version {
        major,
        text: text.to_owned(),
    })
}

fn candidates() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default();
    for (parent, prefix, rest) in VERSIONED {
        let names = fs::read_dir(parent)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name());
        found.extend(
            newest_first(names, prefix)
                .into_iter()
                .map(|name| Path::new(parent).join(name).join(rest)),
        );
    }
    found.extend(pg_config_bindir().ok().flatten());
    found
}

/// The names that are `prefix` and a number, highest number first.
fn newest_first(names: impl Iterator<Item = impl AsRef<OsStr>>, prefix: &str) -> Vec<String> {
    let mut versions: Vec<(u32, String)> = names
        .filter_map(|name| {
            let name = name.as_ref().to_str()?.to_owned();
            Some((name.strip_prefix(prefix)?.parse().ok()?, name))
        })
        .collect();
    versions.sort_by(|left, right| right.cmp(left));
    versions.into_iter().map(|(_, name)| name).collect()
}

fn pg_config_bindir() -> io::Result<Option<PathBuf>> {
    let output = Command::new("pg_config").arg("--bindir").output()?;
    Ok(String::from_utf8(output.stdout)
        .ok()
        .map(|text| PathBuf::from(text.trim_end())))
}

#[cfg(test)]
mod tests {
    use super::{Binaries, BinariesError, newest_first, parse_version};

    #[test]
    fn the_version_is_the_number_behind_the_name() {
        let parsed = |line| parse_version(line).map(|version| (version.major, version.text));
        let debian = "postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n";
        assert_eq!(parsed(debian), Some((15, "15.20".to_owned())));
        assert_eq!(
            parsed("postgres (PostgreSQL) 19beta1\n"),
            Some((19, "19beta1".to_owned()))
        );
        assert_eq!(parsed("postgres (EnterpriseDB) 15\n"), None);
        assert_eq!(parsed("postgres (PostgreSQL) devel\n"), None);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let names = ["9", "15", "common", "100"];
        assert_eq!(newest_first(names.iter(), ""), ["100", "15", "9"]);
        let prefixed = ["pgsql-9", "pgsql-16", "16", "pgsql-old"];
        assert_eq!(newest_first(prefixed.iter(), "pgsql-"), ["pgsql-16", "pgsql-9"]);
    }

    #[test]
    fn a_directory_without_a_server_is_named_in_the_error() {
        let empty = tempfile::tempdir().unwrap();
        let error = Binaries::find(Some(empty.path())).unwrap_err();
        assert!(
            matches!(
                &error,
                BinariesError::Incomplete {
                    program: "initdb",
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(
            error.to_string().contains(empty.path().to_str().unwrap()),
            "{error}"
        );
    }
}
