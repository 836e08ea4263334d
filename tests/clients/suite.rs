//! The suites, and how to run one.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::language::Language;
use crate::stage::{PASSWORD, Stage, USER};

/// A suite that takes longer hangs: they take seconds.
const PATIENCE: Duration = Duration::from_secs(180);

/// A program under `tests/clients`, and what runs it.
pub struct Suite {
    pub name: &'static str,
    language: Language,
    source: &'static str,
}

/// All suites.
pub const SUITES: &[Suite] = &[
    suite("psql", Language::Shell, "suite_psql.sh"),
    suite("libpq", Language::C, "suite_libpq"),
    suite("psqlodbc", Language::Python, "suite_psqlodbc.py"),
    suite("psycopg", Language::Python, "suite_psycopg.py"),
    suite("psycopg2", Language::Python, "suite_psycopg2.py"),
    suite("asyncpg", Language::Python, "suite_asyncpg.py"),
    suite("sqlalchemy", Language::Python, "suite_sqlalchemy.py"),
    suite("django", Language::Python, "suite_django.py"),
    suite("node-postgres", Language::Node, "suite_pg.js"),
    suite("postgres.js", Language::Node, "suite_postgres.js"),
    suite("prisma", Language::NodeOrm, "suite_prisma.js"),
    suite("drizzle", Language::NodeOrm, "suite_drizzle.js"),
    suite("typeorm", Language::NodeOrm, "suite_typeorm.js"),
    suite(
        "tokio-postgres",
        Language::Rust,
        "rust/debug/suite_tokio_postgres",
    ),
    suite("sqlx", Language::Rust, "rust/debug/suite_sqlx"),
    suite("diesel", Language::Rust, "rust/debug/suite_diesel"),
    suite("dbd-pg", Language::Perl, "suite_dbd_pg.pl"),
    suite("pdo", Language::Php, "suite_pdo.php"),
    suite("ruby-pg", Language::Ruby, "suite_pg.rb"),
    suite("activerecord", Language::Ruby, "suite_activerecord.rb"),
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
        let needed = self.language.needs(self.source);
        (!needed.exists()).then(|| needed.display().to_string())
    }

    /// Whether it may be left out where it is not installed.
    pub fn is_optional(&self) -> bool {
        self.language.is_optional()
    }

    /// Runs it to its end. Returns what it printed, and what went wrong.
    pub async fn run(
        &self,
        stage: &Stage,
        port: u16,
        database: &str,
        context: &str,
    ) -> (String, Option<String>) {
        let mut command = Command::from(self.language.command(self.source));
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
