//! The proxy's input and output: thin code that moves bytes where the pure modules say.
//!
//! ```text
//!   listener ── accept ──> workers (per core: a runtime and an event loop)
//!                             │
//!                             ▼ connection, in the runtime
//!      opening ── startup packet, TLS ──> upstream ── login ──> relay, in the event loop  <── session decides
//!                 └── cancel request ──> cancel            └──> pipe   (replication)
//! ```
//!
//! A relay has its buffers from the thread it is on, and nothing in it needs a lock. It stays on one event loop until
//! that one has enough to do and hands half of its work to the next (`load`). tokio's shared, work-stealing runtime was
//! measured to serve a little more at the price of some 15 % more CPU time per transaction, which the database next
//! door can use better; a runtime per core costs half a microsecond a transaction that an event loop does not.

mod backlog;
mod cancel;
pub mod connect_error;
mod connection;
mod event_loop;
mod generation;
mod listener;
mod load;
pub mod login;
pub mod open_files;
mod opening;
mod phase;
mod pipe;
mod polled;
mod relay;
pub mod stream;
pub mod upstream;
pub mod users_file;
mod workers;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::auth::MockNonce;
use crate::config::Config;

use generation::Generation;
pub use generation::GenerationError;
pub use listener::ListenError;
use listener::Listeners;
pub use phase::Phase;
use phase::Phases;
use workers::Workers;

/// A proxy that listens.
#[derive(Debug)]
pub struct Proxy {
    listeners: Listeners,
    workers: Workers,
    shared: Arc<Shared>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    /// The configuration in force for connections that begin now.
    generation: ArcSwap<Generation>,
    mock_nonce: MockNonce,
    phases: Phases,
    connections: connection::Count,
}

/// A way to tell a running proxy what to do.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

/// Why a proxy did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What the configuration names cannot be used.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The operating system gives no threads or no random bytes.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

impl Proxy {
    /// Reads what the configuration names, starts the workers and listens. Connections are accepted once
    /// [`Proxy::run`] runs; until then they wait.
    ///
    /// # Errors
    /// [`StartError`] says what cannot be used or listened on.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        let mock_nonce = login::mock_nonce().map_err(|_| std::io::Error::other("no random bytes"))?;
        let generation = Generation::build(config, mock_nonce.clone())?;
        let listeners = Listeners::bind(&generation.config.listen).await?;
        let phases = Phases::default();
        let workers = Workers::start(generation.config.threads, &phases)?;
        let shared = Arc::new(Shared {
            generation: ArcSwap::from_pointee(generation),
            mock_nonce,
            phases,
            connections: connection::Count::default(),
        });
        Ok(Self {
            listeners,
            workers,
            shared,
        })
    }

    /// Where it listens, as TCP addresses; unix sockets are left out.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        self.listeners.addresses()
    }

    /// A way to stop and reconfigure it while it runs.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Serves until [`Handle::drain`] or [`Handle::end`], and until all connections have ended then.
    pub async fn run(self) {
        let Self {
            listeners,
            workers,
            shared,
        } = self;
        let mut watcher = shared.phases.watch();
        tokio::select! {
            () = listeners.accept_all(&workers, &shared) => {}
            () = watcher.draining() => {}
        }
        drop(listeners);
        let timeout = shared.generation.load().config.shutdown.timeout;
        let count = shared.connections.current();
        if count > 0 {
            tracing::info!(connections = count, timeout_s = timeout.as_secs_f64(), "draining");
        }
        tokio::select! {
            () = shared.connections.none_left() => {}
            () = tokio::time::sleep(timeout) => shared.phases.enter(Phase::Ending),
            () = watcher.ending() => {}
        }
        tokio::select! {
            () = shared.connections.none_left() => {}
            () = tokio::time::sleep(phase::LAST_WORDS) => {}
        }
        workers.stop();
    }
}

impl Handle {
    /// No new connections; idle clients are sent away, the others when their transaction is over.
    pub fn drain(&self) {
        self.0.phases.enter(Phase::Draining);
    }

    /// All connections end now.
    pub fn end(&self) {
        self.0.phases.enter(Phase::Ending);
    }

    /// New connections use this configuration, certificates and users read anew included; those that exist keep
    /// the one they began with. Addresses and threads stay as they are.
    ///
    /// # Errors
    /// [`GenerationError`] says why not; the old configuration stays.
    pub fn reload(&self, config: Config) -> Result<(), GenerationError> {
        let generation = Generation::build(config, self.0.mock_nonce.clone())?;
        self.0.generation.store(Arc::new(generation));
        Ok(())
    }

    /// The configuration in force.
    pub fn config(&self) -> Config {
        self.0.generation.load().config.clone()
    }
}
