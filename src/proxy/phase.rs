//! Running, draining, ending: the life of the proxy as its connections see it.
//!
//! Every connection asks for the phase each time it is woken, so to ask is to look at one number. `tokio::sync::watch`
//! would do the same with a lock that all connections share.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

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

/// Where phases are announced. Once it is dropped, everything ends.
#[derive(Debug, Default)]
pub(super) struct Phases(Arc<Announced>);

#[derive(Debug, Default)]
struct Announced {
    /// A [`Phase`] as a number. Written before those who wait are woken; read after they are written down.
    phase: AtomicU8,
    waiting: Mutex<Waiting>,
}

/// Whom to wake, by the number of the watcher.
#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    wakers: HashMap<u64, Waker>,
}

/// Where phases are heard, by one task.
#[derive(Debug)]
pub(super) struct Watcher {
    announced: Arc<Announced>,
    /// Its number, and who is woken; from the first time that somebody waits.
    waits: Option<(u64, Waker)>,
}

impl Phases {
    /// Enters a phase, unless a later one was entered already.
    pub fn enter(&self, phase: Phase) {
        let before = self.0.phase.fetch_max(phase as u8, Ordering::AcqRel);
        if before >= phase as u8 {
            return;
        }
        // Woken without the lock: whoever runs at once may want it.
        let wakers: Vec<Waker> = self.0.waiting().wakers.values().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    pub fn watch(&self) -> Watcher {
        Watcher {
            announced: Arc::clone(&self.0),
            waits: None,
        }
    }
}

impl Drop for Phases {
    fn drop(&mut self) {
        self.enter(Phase::Ending);
    }
}

impl Announced {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nobody panics while holding it, and a map with an entry too many or too few is still one.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    /// The phase at this moment; the task of this context is woken when a later one is entered.
    pub fn poll(&mut self, context: &Context<'_>) -> Phase {
        let waker = context.waker();
        if !self
            .waits
            .as_ref()
            .is_some_and(|(_, known)| known.will_wake(waker))
        {
            self.wait_as(waker);
        }
        match self.announced.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Draining,
            _ => Phase::Ending,
        }
    }

    #[cold]
    fn wait_as(&mut self, waker: &Waker) {
        let mut waiting = self.announced.waiting();
        let number = match &self.waits {
            Some((number, _)) => *number,
            None => {
                waiting.last += 1;
                waiting.last
            }
        };
        waiting.wakers.insert(number, waker.clone());
        self.waits = Some((number, waker.clone()));
    }

    /// Returns once the proxy drains or ends.
    pub async fn draining(&mut self) {
        self.reached(Phase::Draining).await;
    }

    /// Returns once the proxy ends.
    pub async fn ending(&mut self) {
        self.reached(Phase::Ending).await;
    }

    async fn reached(&mut self, phase: Phase) {
        poll_fn(|context| {
            if self.poll(context) >= phase {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some((number, _)) = &self.waits {
            self.announced.waiting().wakers.remove(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Woken {
        fn times(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn poll(watcher: &mut Watcher, woken: &Arc<Woken>) -> Phase {
        watcher.poll(&Context::from_waker(&Waker::from(Arc::clone(woken))))
    }

    #[test]
    fn each_later_phase_wakes_whoever_asked() {
        let (phases, woken) = (Phases::default(), Arc::default());
        let mut watcher = phases.watch();
        assert_eq!(poll(&mut watcher, &woken), Phase::Running);
        phases.enter(Phase::Draining);
        assert_eq!(woken.times(), 1);
        assert_eq!(poll(&mut watcher, &woken), Phase::Draining);
        phases.enter(Phase::Draining);
        phases.enter(Phase::Running);
        assert_eq!(woken.times(), 1);
        assert_eq!(poll(&mut watcher, &woken), Phase::Draining);
        phases.enter(Phase::Ending);
        assert_eq!(woken.times(), 2);
        assert_eq!(poll(&mut watcher, &woken), Phase::Ending);
    }

    #[test]
    fn the_task_that_asked_last_is_woken() {
        let (phases, first, second) = (Phases::default(), Arc::default(), Arc::default());
        let mut watcher = phases.watch();
        poll(&mut watcher, &first);
        poll(&mut watcher, &second);
        phases.enter(Phase::Draining);
        assert_eq!((first.times(), second.times()), (0, 1));
    }

    #[test]
    fn a_watcher_that_is_gone_is_not_woken() {
        let (phases, woken) = (Phases::default(), Arc::default());
        let mut watchers = [phases.watch(), phases.watch()];
        for watcher in &mut watchers {
            poll(watcher, &woken);
        }
        drop(watchers);
        assert!(phases.0.waiting().wakers.is_empty());
        phases.enter(Phase::Ending);
        assert_eq!(woken.times(), 0);
    }

    #[test]
    fn without_an_announcer_everything_ends() {
        let (phases, woken) = (Phases::default(), Arc::default());
        let mut watcher = phases.watch();
        poll(&mut watcher, &woken);
        drop(phases);
        assert_eq!(woken.times(), 1);
        assert_eq!(poll(&mut watcher, &woken), Phase::Ending);
    }
}
