//! `bemi proxy` as a process: what its signals mean.
//!
//! | signal | meaning |
//! |---|---|
//! | SIGTERM, SIGINT | no new connections; running transactions may finish within `shutdown.timeout` |
//! | either one again | end at once |
//! | SIGHUP | read configuration and certificates again; where something is wrong, the old ones stay |

use std::fs;
use std::io;
use std::path::Path;

use bemi::config::{Config, ListenAddress, Sources};
use bemi::logging::Logging;
use bemi::proxy::{Handle, Proxy, StartError, open_files};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Keys that only a restart changes: they made the process what it is.
const FIXED: [&str; 3] = ["listen", "threads", "log.format"];

/// Serves until a signal ends it.
///
/// # Errors
/// [`StartError`] when it cannot begin.
pub async fn serve(config: Config, sources: Sources, logging: Logging) -> Result<(), StartError> {
    let signals = Signals::new()?;
    make_room(config.limits.max_connections);
    let upstream = config.upstream.url.to_string();
    let proxy = Proxy::bind(config).await?;
    let handle = proxy.handle();
    let listen = addresses(&proxy, &handle.config());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), listen, upstream, "started");
    let obeying = tokio::spawn(signals.obey(handle, sources, logging));
    proxy.run().await;
    obeying.abort();
    tracing::info!("stopped");
    Ok(())
}

/// A lack of file descriptors should be known before it is felt.
fn make_room(max_connections: usize) {
    let needed = open_files::needed_for(max_connections);
    match open_files::raise_limit() {
        Ok(limit) if limit < needed => tracing::warn!(
            limit,
            needed,
            "the limit of open files is too low for max_connections: raise it (ulimit -Hn, LimitNOFILE=)"
        ),
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
}

/// Where it listens in fact: names are resolved, and port 0 is the one that the system chose.
fn addresses(proxy: &Proxy, config: &Config) -> String {
    let tcp = proxy.local_addresses().iter().map(ToString::to_string);
    let unix = config
        .listen
        .iter()
        .filter_map(ListenAddress::socket_path)
        .map(|path| path.display().to_string());
    tcp.chain(unix).collect::<Vec<_>>().join(", ")
}

/// The configuration as it is now.
pub fn load(sources: &Sources) -> Result<Config, bemi::config::ConfigError> {
    Config::load(sources, |path: &Path| fs::read_to_string(path))
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn obey(mut self, proxy: Handle, sources: Sources, logging: Logging) {
        let mut is_draining = false;
        loop {
            let is_hang_up = tokio::select! {
                _ = self.terminate.recv() => false,
                _ = self.interrupt.recv() => false,
                _ = self.hang_up.recv() => true,
            };
            match (is_hang_up, is_draining) {
                (true, _) => reload(&proxy, &sources, &logging),
                (false, false) => {
                    is_draining = true;
                    tracing::info!("told to stop: running transactions may finish");
                    proxy.drain();
                }
                (false, true) => {
                    tracing::warn!("told to stop again: ending all connections");
                    proxy.end();
                }
            }
        }
    }
}

fn reload(proxy: &Handle, sources: &Sources, logging: &Logging) {
    let config = match load(sources) {
        Ok(config) => config,
        Err(error) => return kept(&error.to_string().replace('\n', "; ")),
    };
    let changed = proxy.config().changed_keys(&config);
    let level = config.log.level.clone();
    if let Err(error) = proxy.reload(config) {
        return kept(&error.to_string());
    }
    if let Err(error) = logging.set_level(&level) {
        tracing::error!(%error, "the level of the log stays as it was");
    }
    tracing::info!(
        changed = changed.join(", "),
        "configuration and certificates read again"
    );
    let waiting: Vec<&str> = changed.into_iter().filter(|key| FIXED.contains(key)).collect();
    if !waiting.is_empty() {
        tracing::warn!(
            keys = waiting.join(", "),
            "changed, but only a restart can put these into effect"
        );
    }
}

fn kept(reason: &str) {
    tracing::error!(reason, "the new configuration cannot be used; the old one stays");
}
