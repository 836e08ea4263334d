//! What the suites are written in: where their programs are, and what runs them.

use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Clone, Copy)]
pub enum Language {
    Python,
    Node,
    /// Node, in a version that object-relational mappers ask for.
    NodeOrm,
    /// These three `scripts/install-clients.sh` compiles.
    C,
    Rust,
    Go,
    /// One program, whose argument is the source.
    Java,
    /// These with what the distribution packages.
    Shell,
    Perl,
    Php,
    Ruby,
}

impl Language {
    /// What has to be there to run the suite `source`.
    pub fn needs(self, source: &str) -> PathBuf {
        installed().join(match self {
            Self::Python => "venv/bin/python",
            Self::Node => "node_modules",
            Self::NodeOrm => "orm/generated",
            Self::C | Self::Rust | Self::Go => source,
            Self::Java => "java/dependency",
            Self::Shell | Self::Perl | Self::Php | Self::Ruby => "packages.installed",
        })
    }

    /// Whether its suites may be left out: the other languages come with every distribution, in versions that are new
    /// enough.
    pub fn is_optional(self) -> bool {
        matches!(self, Self::NodeOrm | Self::Go | Self::Java)
    }

    pub fn command(self, source: &str) -> Command {
        let script = |runner: &str, directory: &str| {
            let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
            let mut command = Command::new(runner);
            command.arg(sources.join(directory).join(source));
            command
        };
        let node = |modules: &str| {
            let mut command = script("node", "node");
            command.env("NODE_PATH", installed().join(modules));
            command
        };
        match self {
            Self::C | Self::Rust | Self::Go => Command::new(installed().join(source)),
            Self::Python => {
                let python = installed().join("venv/bin/python");
                let mut command = script(&python.display().to_string(), "python");
                command.env("PYTHONDONTWRITEBYTECODE", "1");
                command
            }
            Self::Node => node("node_modules"),
            Self::NodeOrm => node("orm/node_modules"),
            Self::Java => {
                let (mut command, java) = (Command::new("java"), installed().join("java"));
                let path = format!("{0}/classes:{0}/dependency/*", java.display());
                // Its default is ASCII where no locale is set.
                command.args(["-Dstdout.encoding=UTF-8", "-cp", &path, "Suite", source]);
                command
            }
            Self::Shell => script("bash", "shell"),
            Self::Perl => script("perl", "perl"),
            Self::Php => script("php", "php"),
            Self::Ruby => script("ruby", "ruby"),
        }
    }
}

/// Where `scripts/install-clients.sh` installs.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients")
}
