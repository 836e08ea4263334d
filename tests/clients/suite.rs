//! The suites, and how to run one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;

use crate::stage::{PASSWORD, Stage, USER};

/// A suite that takes longer hangs: they take seconds.
const PATIENCE: Duration = Duration::from_secs(180);

/// A program under `tests/clients`, and what runs it.
pub struct Suite {
    pub name: &'static str,
    language: Language,
    source: &'static str,
}

#[derive(Clone, Copy)]
enum Language {
    Python,
    Node,
    /// Node, in a version that object-relational mappers ask for.
    NodeOrm,
    /// Compiled by `scripts/install-clients.sh`.
    C,
    Rust,
    Go,
    /// One program, whose argument is the source.
    Java,
    /// With what the distribution packages.
    Shell,
    Perl,
    Php,
    Ruby,
}

/// All suites.
pub const SUITES: &[Suite] = &[
    suite("psql", Language::Shell, "shell/suite_psql.sh"),
    suite("libpq", Language::C, "suite_libpq"),
    suite("psqlodbc", Language::Python, "python/suite_psqlodbc.py"),
    suite("psycopg", Language::Python, "python/suite_psycopg.py"),
    suite("psycopg2", Language::Python, "python/suite_psycopg2.py"),
    suite("asyncpg", Language::Python, "python/suite_asyncpg.py"),
    suite("sqlalchemy", Language::Python, "python/suite_sqlalchemy.py"),
    suite("django", Language::Python, "python/suite_django.py"),
    suite("node-postgres", Language::Node, "node/suite_pg.js"),
    suite("postgres.js", Language::Node, "node/suite_postgres.js"),
    suite("prisma", Language::NodeOrm, "node/suite_prisma.js"),
    suite("drizzle", Language::NodeOrm, "node/suite_drizzle.js"),
    suite("typeorm", Language::NodeOrm, "node/suite_typeorm.js"),
    suite(
        "tokio-postgres",
        Language::Rust,
        "rust/debug/suite_tokio_postgres",
    ),
    suite("sqlx", Language::Rust, "rust/debug/suite_sqlx"),
    suite("diesel", Language::Rust, "rust/debug/suite_diesel"),
    suite("dbd-pg", Language::Perl, "perl/suite_dbd_pg.pl"),
    suite("pdo", Language::Php, "php/suite_pdo.php"),
    suite("ruby-pg", Language::Ruby, "ruby/suite_pg.rb"),
    suite("activerecord", Language::Ruby, "ruby/suite_activerecord.rb"),
    suite("pgx", Language::Go, "suite_pgx"),
    suite("pq", Language::Go, "suite_pq"),
    suite("pgjdbc", Language::Java, "prepared"),
    suite("pgjdbc-simple", Language::Java, "simple"),
];

const fn suite(name: &'static str, language: Language, source: &'static str) -> Suite {
    Suite {
        name,
        language,
        source,
    }
}

impl Suite {
    /// What has to be installed to run it and is not.
    pub fn missing(&self) -> Option<String> {
        let needed = match self.language {
            Language::Python => installed().join("venv/bin/python"),
            Language::Node => installed().join("node_modules"),
            Language::NodeOrm => installed().join("orm/generated"),
            Language::C | Language::Rust | Language::Go => installed().join(self.source),
            Language::Java => installed().join("java/dependency"),
            Language::Shell | Language::Perl | Language::Php | Language::Ruby => {
                installed().join("packages.installed")
            }
        };
        (!needed.exists()).then(|| needed.display().to_string())
    }

    /// Whether it may be left out where it is not installed: the other languages come with every distribution, in
    /// versions that are new enough.
    pub fn is_optional(&self) -> bool {
        matches!(self.language, Language::NodeOrm | Language::Go | Language::Java)
    }

    fn command(&self) -> Command {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/clients")
            .join(self.source);
        let with = |runner: &str| {
            let mut command = Command::new(runner);
            command.arg(&source);
            command
        };
        match self.language {
            Language::C | Language::Rust | Language::Go => Command::new(installed().join(self.source)),
            Language::Python => {
                let mut command = Command::new(installed().join("venv/bin/python"));
                command.arg(source).env("PYTHONDONTWRITEBYTECODE", "1");
                command
            }
            Language::Node => {
                let mut command = with("node");
                command.env("NODE_PATH", installed().join("node_modules"));
                command
            }
            Language::NodeOrm => {
                let mut command = with("node");
                command.env("NODE_PATH", installed().join("orm/node_modules"));
                command
            }
            Language::Java => {
                let (mut command, java) = (Command::new("java"), installed().join("java"));
                let path = format!("{0}/classes:{0}/dependency/*", java.display());
                // Its default is ASCII where no locale is set.
                command.args(["-Dstdout.encoding=UTF-8", "-cp", &path, "Suite", self.source]);
                command
            }
            Language::Shell => with("bash"),
            Language::Perl => with("perl"),
            Language::Php => with("php"),
            Language::Ruby => with("ruby"),
        }
    }

    /// Runs it to its end. Returns what it printed, and what went wrong.
    pub async fn run(
        &self,
        stage: &Stage,
        port: u16,
        database: &str,
        context: &str,
    ) -> (String, Option<String>) {
        let mut command = tokio::process::Command::from(self.command());
        let spawned = command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", port.to_string())
            .env("PGUSER", USER)
            .env("PGPASSWORD", PASSWORD)
            .env("PGDATABASE", database)
            .env("PGSSLMODE", "disable")
            .env("BEMI_ROOT_CERT", stage.root())
            .env("BEMI_WRONG_ROOT_CERT", stage.wrong_root())
            .env("BEMI_CONTEXT", context)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => return (String::new(), Some(error.to_string())),
        };
        let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return (String::new(), Some("no pipes".to_owned()));
        };
        let (mut printed, mut complaints) = (Vec::new(), Vec::new());
        let ended = tokio::time::timeout(PATIENCE, async {
            let both = tokio::join!(
                stdout.read_to_end(&mut printed),
                stderr.read_to_end(&mut complaints)
            );
            both.0.and(both.1)?;
            child.wait().await
        })
        .await;
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec()).unwrap_or_else(|e| e.as_bytes().escape_ascii().to_string())
        };
        let error = match ended {
            Ok(Ok(status)) if status.success() => None,
            Ok(Ok(status)) => Some(format!("{status}\n{}", text(&complaints))),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!(
                "it hangs; so far:\n{}\n{}",
                text(&printed),
                text(&complaints)
            )),
        };
        (text(&printed), error)
    }
}

/// Where `scripts/install-clients.sh` installs.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients")
}
