//! The demonstration itself: servers up, statements through the proxy, the log read back, everything taken away.

use std::future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::signal::unix::{SignalKind, signal};
use tokio_postgres::{Client, Config, NoTls};

use super::changes::Change;
use super::cluster::{Cluster, ClusterError, ClusterOptions, ServerTls};
use super::report::Style;
use super::script::{STEPS, Statement, Step};
use super::stage::{Ground, Stage, StageError};
use super::tracker::{QUERY, Tracker, TrackerError};
use crate::client::reason;
use crate::config::url::{UpstreamUrl, UrlError};
use crate::config::{Config as ProxyConfig, ListenAddress};
use crate::proxy::{Proxy, StartError};
use crate::tls::generate::{self, GenerateError};

/// How often the log is read while `--keep` waits.
const WATCH_INTERVAL: Duration = Duration::from_millis(300);

/// The database of the throw-away server.
const DATABASE: &str = "postgres";

/// Only TLS comes in by TCP, so that there is no doubt what the proxy speaks.
const HBA: &str =
    "hostssl all all 127.0.0.1/32 trust\nhostnossl all all 127.0.0.1/32 reject\nlocal all all trust\n";

/// What `bemi demo` can be told.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Stay up until Ctrl-C, print the URL to connect to, and show what arrives in the write-ahead log.
    pub keep: bool,
    /// The URL of a server to use instead of a throw-away one: in a schema of its own, which is dropped at the end.
    pub upstream: Option<String>,
}

/// Why the demonstration did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The throw-away server.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Its certificate.
    #[error(transparent)]
    Certificate(#[from] GenerateError),
    /// The URL of `--upstream`.
    #[error("--upstream: {0}")]
    Url(#[from] UrlError),
    /// The proxy did not start.
    #[error("the proxy did not start: {0}")]
    Proxy(#[from] StartError),
    /// No connection through the proxy.
    #[error("cannot connect through the proxy: {0}")]
    Connect(String),
    /// The server refused what the demonstration needs.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// A statement of the demonstration failed.
    #[error("the server refused a statement of the demonstration: {0}")]
    Statement(String),
    /// The log does not show what it should.
    #[error(
        "step {step} should leave {expected} row changes in the write-ahead log, each with a context; it left {found}, {bare} of them without"
    )]
    Unexpected {
        /// The step's number.
        step: usize,
        /// Row changes it should leave.
        expected: usize,
        /// Row changes it left.
        found: usize,
        /// Those without a context.
        bare: usize,
    },
    /// The tracker beside it.
    #[error(transparent)]
    Tracker(#[from] TrackerError),
    /// Ctrl-C or SIGTERM.
    #[error("interrupted")]
    Interrupted,
    /// The terminal is gone.
    #[error("cannot write the report: {0}")]
    Output(#[from] io::Error),
}

/// Runs the demonstration and prints it to `output`.
///
/// `start_proxy` takes the server's URL, starts a proxy in front of it, and returns where that listens:
/// [`start_proxy`](super::start_proxy), but for tests that want to see what happens without one.
///
/// # Errors
/// [`DemoError`]; everything that was made is taken away first.
pub async fn run<P>(
    options: &Options,
    style: Style,
    output: &mut impl Write,
    start_proxy: P,
) -> Result<(), DemoError>
where
    P: AsyncFnOnce(UpstreamUrl) -> Result<SocketAddr, StartError>,
{
    let mut interrupt = Interrupt::listen()?;
    // Held until the end; the server goes with it.
    let (url, _cluster) = match &options.upstream {
        Some(url) => (url.clone(), None),
        None => {
            let (url, cluster) = interrupt.unless(throw_away_server()).await?;
            (url, Some(cluster))
        }
    };
    let server = UpstreamUrl::parse(&url)?;
    let proxy = start_proxy(server.clone()).await?;
    let login = login(&server, proxy);
    let ground = if options.upstream.is_some() {
        Ground::Theirs
    } else {
        Ground::Ours
    };

    let observer = interrupt.unless(connect(&login)).await?;
    let mut tracker = match ground {
        Ground::Ours => {
            let starting = async { Ok(Tracker::start(server.clone(), &observer).await?) };
            Some((
                interrupt.unless(starting).await?,
                interrupt.unless(connect(&login)).await?,
            ))
        }
        Ground::Theirs => None,
    };
    let name = unused_name();
    // Not interrupted: it would not know what to take away.
    let stage = Stage::set(observer, ground, name).await?;
    let mut show = Show {
        style,
        output,
        proxy,
        login: &login,
        stage: &stage,
    };
    let outcome = interrupt.unless(show.play(tracker.as_mut())).await;
    let outcome = match outcome {
        Ok(()) if options.keep => show.keep(&server, tracker.is_some(), &mut interrupt).await,
        outcome => outcome,
    };
    let struck = stage.strike().await;
    outcome?;
    Ok(struck?)
}

/// A name that no other demonstration on the same server has, be it of this process or of another.
fn unused_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!(
        "bemi_demo_{}_{}",
        process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Starts a proxy with every default in front of `server`, on a free port of 127.0.0.1. It runs as long as the runtime.
///
/// # Errors
/// As [`Proxy::bind`].
pub async fn start_proxy(server: UpstreamUrl) -> Result<SocketAddr, StartError> {
    let mut config = ProxyConfig::new(server);
    config.listen = vec![ListenAddress::Tcp {
        host: "127.0.0.1".to_owned(),
        port: 0,
    }];
    let proxy = Proxy::bind(config).await?;
    let address = proxy.local_addresses().first().copied();
    tokio::spawn(proxy.run());
    address.ok_or_else(|| io::Error::other("the proxy listens nowhere").into())
}

/// Ctrl-C and SIGTERM, from the moment this is made.
struct Interrupt {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Interrupt {
    fn listen() -> Result<Self, DemoError> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self) {
        future::poll_fn(|context| {
            let interrupted = self.interrupt.poll_recv(context).is_ready();
            let terminated = self.terminate.poll_recv(context).is_ready();
            if interrupted || terminated {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }

    /// Does `work`, which may be dropped at any of its waits.
    async fn unless<T>(&mut self, work: impl Future<Output = Result<T, DemoError>>) -> Result<T, DemoError> {
        tokio::select! {
            biased;
            () = self.wait() => Err(DemoError::Interrupted),
            outcome = work => outcome,
        }
    }
}

/// A server with TLS, and the URL to reach it with the certificate verified.
async fn throw_away_server() -> Result<(String, Cluster), DemoError> {
    let certificate = generate::authority_and_server(&["localhost", "127.0.0.1"])?;
    let options = ClusterOptions {
        tls: Some(ServerTls {
            cert_pem: certificate.cert_pem,
            key_pem: certificate.key_pem,
            client_ca_pem: None,
        }),
        hba: Some(HBA.to_owned()),
        ..ClusterOptions::default()
    };
    let cluster = tokio::task::spawn_blocking(move || Cluster::start(&options))
        .await
        .map_err(io::Error::other)??;
    cluster.write_file("authority.crt", &certificate.ca_pem)?;
    let root: PathBuf = cluster.data_dir().join("authority.crt");
    let root = root.display().to_string();
    let url = cluster.url(DATABASE, &[("sslmode", "verify-full"), ("sslrootcert", &root)]);
    Ok((url, cluster))
}

/// The URL's login, at the proxy's address.
fn login(server: &UpstreamUrl, proxy: SocketAddr) -> Config {
    let mut login = Config::new();
    login.host(proxy.ip().to_string()).port(proxy.port());
    login.ssl_mode(tokio_postgres::config::SslMode::Disable);
    login.application_name(server.application_name.as_deref().unwrap_or("bemi demo"));
    if let Some(user) = &server.user {
        login.user(user);
    }
    if let Some(dbname) = &server.dbname {
        login.dbname(dbname);
    }
    if let Some(options) = &server.options {
        login.options(options);
    }
    if let Some(password) = &server.password {
        login.password(password.reveal());
    } else if let Ok(password) = std::env::var("PGPASSWORD") {
        login.password(password);
    }
    login
}

async fn connect(login: &Config) -> Result<Client, DemoError> {
    let (client, connection) = login
        .connect(NoTls)
        .await
        .map_err(|error| DemoError::Connect(reason(&error)))?;
    // Its error is also the error of whatever the client asks next.
    tokio::spawn(connection);
    Ok(client)
}

/// The demonstration under way.
struct Show<'a, W> {
    style: Style,
    output: &'a mut W,
    proxy: SocketAddr,
    login: &'a Config,
    stage: &'a Stage,
}

impl<W: Write> Show<'_, W> {
    async fn play(&mut self, tracker: Option<&mut (Tracker, Client)>) -> Result<(), DemoError> {
        let client = connect(self.login).await?;
        self.introduce(&client).await?;
        client
            .batch_execute(&self.stage.session())
            .await
            .map_err(refused)?;
        // What came before is no part of the show.
        self.stage.changes().await?;
        for (position, step) in STEPS.iter().enumerate() {
            self.step(&client, position + 1, step).await?;
        }
        if let Some((tracker, observer)) = tracker {
            let expected: usize = STEPS.iter().map(|step| step.changes).sum();
            let rows = tracker
                .rows(observer, i64::try_from(expected).unwrap_or_default())
                .await?;
            write!(
                self.output,
                "{}",
                self.style.stored(STEPS.len() + 1, QUERY, &rows)
            )?;
        }
        writeln!(
            self.output,
            "\nNo trigger, no extra column, no client library: only another host and port."
        )?;
        Ok(())
    }

    async fn introduce(&mut self, client: &Client) -> Result<(), DemoError> {
        let row = client
            .query_one(
                "SELECT pg_catalog.current_setting('server_version'), \
                 (SELECT version FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid() AND ssl)",
                &[],
            )
            .await
            .map_err(refused)?;
        let version: String = row.try_get(0).map_err(refused)?;
        let tls: Option<String> = row.try_get(1).map_err(refused)?;
        // Debian adds its own words behind the version.
        let server = format!("PostgreSQL {}", version.split(' ').next().unwrap_or(&version));
        write!(
            self.output,
            "{}",
            self.style.route(&self.proxy.to_string(), tls.as_deref(), &server)
        )?;
        Ok(())
    }

    async fn step(&mut self, client: &Client, number: usize, step: &Step) -> Result<(), DemoError> {
        write!(self.output, "{}", self.style.step(number, step))?;
        for statement in step.statements {
            execute(client, statement).await?;
        }
        let changes = self.stage.changes().await?;
        write!(self.output, "{}", self.style.changes(&changes))?;
        self.output.flush()?;
        judge(number, step, &changes)
    }

    /// Prints whatever arrives, until interrupted.
    async fn keep(
        &mut self,
        server: &UpstreamUrl,
        is_tracked: bool,
        interrupt: &mut Interrupt,
    ) -> Result<(), DemoError> {
        let quote = |text: &String| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let user = server
            .user
            .as_ref()
            .map(|user| format!("{}@", quote(user)))
            .unwrap_or_default();
        let database = server.dbname.as_ref().map(quote).unwrap_or_default();
        writeln!(
            self.output,
            "\nThe proxy stays up until Ctrl-C. What you write through it appears below. Connect as to the server:\n\n   \
             psql 'postgresql://{user}{}/{database}'\n\n   \
             {};\n   SET bemi.context = '{{\"user_id\": 1}}';\n   INSERT INTO todo (task) VALUES ('Your turn');{}",
            self.proxy,
            self.stage.session(),
            if is_tracked {
                "\n   SELECT * FROM changes ORDER BY id DESC LIMIT 1;"
            } else {
                ""
            },
        )?;
        self.output.flush()?;
        loop {
            let changes = self.stage.changes().await?;
            if !changes.is_empty() {
                write!(self.output, "{}", self.style.changes(&changes))?;
                self.output.flush()?;
            }
            tokio::select! {
                biased;
                () = interrupt.wait() => return Ok(()),
                () = tokio::time::sleep(WATCH_INTERVAL) => {}
            }
        }
    }
}

async fn execute(client: &Client, statement: &Statement) -> Result<(), DemoError> {
    if statement.parameters.is_empty() {
        return client.batch_execute(statement.sql).await.map_err(refused);
    }
    let values: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = statement
        .parameters
        .iter()
        .map(|value| value as &(dyn tokio_postgres::types::ToSql + Sync))
        .collect();
    client
        .execute(statement.sql, &values)
        .await
        .map(drop)
        .map_err(refused)
}

fn refused(error: tokio_postgres::Error) -> DemoError {
    DemoError::Statement(reason(&error))
}

/// The log has the last word on whether the demonstration worked.
fn judge(number: usize, step: &Step, changes: &[Change]) -> Result<(), DemoError> {
    let bare = changes.iter().filter(|change| change.context.is_none()).count();
    if changes.len() == step.changes && bare == 0 {
        return Ok(());
    }
    Err(DemoError::Unexpected {
        step: number,
        expected: step.changes,
        found: changes.len(),
        bare,
    })
}
