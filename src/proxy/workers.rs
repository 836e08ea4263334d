//! The threads that serve connections: runtimes, for what comes once in a connection's life, and as many event loops,
//! for what goes back and forth afterwards. No work stealing.

use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::event_loop::EventLoops;
use super::load::Terms;
use super::phase::Phases;

/// The workers. A connection goes to the one that has the fewest, until it is logged in.
#[derive(Debug)]
pub(super) struct Workers {
    workers: Vec<Worker>,
    event_loops: EventLoops,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    /// Dropped to stop it.
    _stop: oneshot::Sender<()>,
}

/// Counts a connection on its worker for as long as it lives.
#[derive(Debug)]
pub(super) struct Served {
    event_loops: EventLoops,
    connections: Arc<AtomicUsize>,
}

impl Served {
    /// Where its relay lives.
    pub fn event_loops(&self) -> &EventLoops {
        &self.event_loops
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts this many of each; 0 for one per core that this process may use.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(threads: usize, phases: &Phases) -> io::Result<Self> {
        let threads = match threads {
            0 => thread::available_parallelism().map_or(1, NonZero::get),
            n => n,
        };
        let event_loops = EventLoops::start(threads, Terms::default(), phases)?;
        let workers = (0..threads).map(Worker::start).collect::<io::Result<_>>()?;
        Ok(Self { workers, event_loops })
    }

    /// Has a worker serve a connection, until what is made of the count has ended: a future around that one would hold it
    /// twice, once as what it was given and once as what it waits for.
    pub fn spawn<F>(&self, connection: impl FnOnce(Served) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(worker) = self
            .workers
            .iter()
            .min_by_key(|worker| worker.connections.load(Ordering::Relaxed))
        else {
            return;
        };
        worker.connections.fetch_add(1, Ordering::Relaxed);
        let served = Served {
            event_loops: self.event_loops.clone(),
            connections: Arc::clone(&worker.connections),
        };
        worker.runtime.spawn(connection(served));
    }

    /// Ends all threads; what still runs on them is dropped.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.event_loops.stop();
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        thread::Builder::new()
            .name(format!("bemi-{number}"))
            .spawn(move || {
                // An error means that the sender is gone: that is the signal.
                _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })?;
        Ok(Self {
            runtime: handle,
            connections: Arc::default(),
            _stop: stop,
        })
    }
}
