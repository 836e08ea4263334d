//! Running, draining, ending: the life of the proxy as its connections see it.

use std::time::Duration;

use tokio::sync::watch;

/// How long connections have, once everything ends, to hand over what they have to say.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);

/// Phases follow one another and never go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections come and go.
    Running,
    /// No new ones; the others end when idle.
    Draining,
    /// All end now.
    Ending,
}

/// Where phases are announced.
#[derive(Debug)]
pub(super) struct Phases(watch::Sender<Phase>);

/// Where they are heard.
#[derive(Debug, Clone)]
pub(super) struct Watcher(watch::Receiver<Phase>);

impl Phases {
    pub fn new() -> (Self, Watcher) {
        let (sender, receiver) = watch::channel(Phase::Running);
        (Self(sender), Watcher(receiver))
    }

    /// Enters a phase, unless a later one was entered already.
    pub fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let later = phase > *current;
            *current = phase.max(*current);
            later
        });
    }

    pub fn watch(&self) -> Watcher {
        Watcher(self.0.subscribe())
    }
}

impl Watcher {
    pub fn current(&self) -> Phase {
        *self.0.borrow()
    }

    /// Returns once the proxy drains or ends.
    pub async fn draining(&mut self) {
        self.reached(Phase::Draining).await;
    }

    /// Returns once the proxy ends.
    pub async fn ending(&mut self) {
        self.reached(Phase::Ending).await;
    }

    /// Returns the next phase once this one is over.
    pub async fn later_than(&mut self, phase: Phase) -> Phase {
        match self.0.wait_for(|current| *current > phase).await {
            Ok(later) => *later,
            Err(_) => Phase::Ending,
        }
    }

    /// A sender that is gone ends everything as well.
    async fn reached(&mut self, phase: Phase) {
        _ = self.0.wait_for(|current| *current >= phase).await;
    }
}
