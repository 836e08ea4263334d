//! The applications, and how to start one.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::api::Api;

/// An application that takes longer to start hangs: the slowest takes seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// Nobody asks it any more: it needs no longer to end.
const FAREWELL: Duration = Duration::from_secs(10);

/// Fewer connections than visitors: requests of different users get the same one in turn.
pub const POOL_SIZE: i64 = 2;

/// An application under `examples`, and what runs it.
pub struct App {
    pub name: &'static str,
    /// A program, of its own directory where it has a slash, and its arguments; `{port}` is where it shall listen.
    command: &'static [&'static str],
    /// What `scripts/install-examples.sh` makes in the end.
    needs: &'static str,
    /// Whether it may be left out where it is not installed: Python and Ruby come with every distribution, in versions that
    /// are new enough.
    pub is_optional: bool,
    pub api: Api,
    /// What sqlcommenter's comments say are strings; JSON has numbers.
    pub user_is_text: bool,
    /// Whether it also makes the table of the documentation.
    pub tells_the_story: bool,
}

const NODE: App = App {
    name: "",
    // Not by the program tsx: that starts another.
    command: &["node", "--import=tsx", "server.ts"],
    needs: "node_modules",
    is_optional: true,
    api: Api::Rest { prefix: "" },
    user_is_text: false,
    tells_the_story: false,
};

const PYTHON: App = App {
    needs: "venv",
    is_optional: false,
    ..NODE
};

/// All applications.
pub const APPS: &[App] = &[
    App {
        name: "express-prisma",
        needs: "generated",
        user_is_text: true,
        tells_the_story: true,
        ..NODE
    },
    App {
        name: "apollo-server",
        command: &["node", "server.js"],
        api: Api::GraphQl,
        ..NODE
    },
    App {
        name: "nextjs",
        command: &[
            "node",
            "node_modules/next/dist/bin/next",
            "start",
            "--hostname=127.0.0.1",
        ],
        needs: ".next/BUILD_ID",
        api: Api::Rest { prefix: "/api" },
        ..NODE
    },
    App {
        name: "trpc",
        api: Api::Trpc,
        ..NODE
    },
    App {
        name: "fastapi-sqlalchemy",
        command: &[
            "venv/bin/uvicorn",
            "app:app",
            "--port={port}",
            "--log-level=warning",
        ],
        ..PYTHON
    },
    App {
        name: "django",
        command: &[
            "venv/bin/gunicorn",
            "app:application",
            "--bind=127.0.0.1:{port}",
            "--threads=10",
            "--log-level=warning",
        ],
        user_is_text: true,
        ..PYTHON
    },
    App {
        name: "rails",
        command: &[
            "puma",
            "--bind=tcp://127.0.0.1:{port}",
            "--threads=10:10",
            "--quiet",
            "config.ru",
        ],
        needs: "config.ru",
        is_optional: false,
        ..NODE
    },
    App {
        name: "go-pgx",
        command: &["./todo"],
        needs: "todo",
        ..NODE
    },
    App {
        name: "jdbc",
        command: &["java", "-cp", "target/classes:target/dependency/*", "App"],
        needs: "target/dependency",
        ..NODE
    },
];

impl App {
    /// What has to be installed to run it and is not.
    pub fn missing(&self) -> Option<String> {
        let needed = self.installed().join(self.needs);
        (!needed.exists()).then(|| needed.display().to_string())
    }

    fn command(&self, port: u16) -> Command {
        let (program, arguments) = self.command.split_first().expect("a program");
        let program = if program.contains('/') {
            self.installed().join(program)
        } else {
            PathBuf::from(program)
        };
        let port = port.to_string();
        let mut command = Command::new(program);
        command
            .args(arguments.iter().map(|argument| argument.replace("{port}", &port)))
            .current_dir(self.installed())
            .env("PORT", port)
            .env("POOL_SIZE", POOL_SIZE.to_string());
        command
    }

    /// Starts it with its database behind `proxy`, and returns when it accepts connections.
    pub async fn start(&self, proxy: u16, database: &str) -> Result<Running, String> {
        let log = tempfile::NamedTempFile::new().expect("a log");
        let output = || File::options().append(true).open(log.path()).expect("the log");
        let port = free_port();
        let url = format!("postgresql://postgres@127.0.0.1:{proxy}/{database}?sslmode=disable");
        let jdbc = format!("jdbc:postgresql://127.0.0.1:{proxy}/{database}?user=postgres&sslmode=disable");
        let child = self
            .command(port)
            .env("NEXT_TELEMETRY_DISABLED", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("DATABASE_URL", url)
            .env("JDBC_DATABASE_URL", jdbc)
            .stdin(Stdio::null())
            .stdout(output())
            .stderr(output())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut running = Running { child, port, log };
        running.wait_until_it_listens().await?;
        Ok(running)
    }

    /// Where `scripts/install-examples.sh` installs it.
    fn installed(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target/examples")
            .join(self.name)
    }
}

/// Nobody else takes it within the moments until the application does.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// An application that accepts connections, ended when dropped.
pub struct Running {
    child: Child,
    port: u16,
    log: tempfile::NamedTempFile,
}

impl Running {
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log.path()).expect("the log");
        format!("its log:\n{}", crate::support::program::text(&bytes))
    }

    async fn wait_until_it_listens(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port))
            .await
            .is_err()
        {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return Err(format!("{status}; {}", self.log()));
            }
            if Instant::now() > deadline {
                return Err(format!("it does not listen; {}", self.log()));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

impl Running {
    /// Asks it to end, so that it can end the processes that it has started, and waits.
    fn end(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        let deadline = Instant::now() + FAREWELL;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                println!("it does not end by itself, and is killed");
                self.child.kill()?;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which the visitors have noticed.
        let _ = self.end();
    }
}
