//! Where logged-in connections live: a thread that waits for their sockets and has their relays move what came.
//!
//! Until the login, and for whatever comes once in a connection's life, tokio is the right tool. What a relay does in
//! each of its turns is a read and a write; around those, a task that is scheduled, wakers that are handed out and
//! budgets that are kept take as long as all decisions. So relays leave the runtime: this loop knows which sockets
//! have something to say and asks their relays, in turn.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use mio::{Events, Poll, Token};
use rustix::time::{ClockId, clock_gettime};
use slab::Slab;
use tokio::sync::oneshot;

use super::load::{self, Load, Meter, Moment, Terms};
use super::phase::{Phase, Phases, Watcher};
use super::relay::{End, Party, Relay, Scratch, Turn};
use crate::prefetch::prefetch;

/// Events told at once; more wait for the next time.
const EVENTS: usize = 1024;

/// Of the thread's own waker. All others are those of relays, twice their number, and one more for the server's side.
const WOKEN: Token = Token(usize::MAX);

/// All event loops of a proxy.
#[derive(Debug, Clone)]
pub(super) struct EventLoops(Arc<[EventLoop]>);

/// One of them, as others see it.
#[derive(Debug)]
struct EventLoop {
    orders: mpsc::Sender<Order>,
    alarm: Arc<Alarm>,
    /// Milliseconds of the monotonic clock.
    busy_until: AtomicU64,
    relays: AtomicUsize,
}

enum Order {
    Relay(Box<Relay>, Ended),
    Stop,
}

type Ended = oneshot::Sender<(Box<Relay>, End)>;

#[derive(Debug)]
struct Alarm(mio::Waker);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Err(error) = self.0.wake() {
            tracing::error!(%error, "cannot wake an event loop");
        }
    }
}

impl EventLoops {
    /// Starts this many threads.
    ///
    /// # Errors
    /// When the system gives no threads or no descriptors.
    pub fn start(count: usize, terms: Terms, phases: &Phases) -> io::Result<Self> {
        let made = (0..count).map(|_| EventLoop::new());
        let (event_loops, threads): (Vec<_>, Vec<_>) =
            made.collect::<io::Result<Vec<_>>>()?.into_iter().unzip();
        let all = Self(event_loops.into());
        for (place, (poll, orders)) in threads.into_iter().enumerate() {
            let (all, terms, watcher) = (all.clone(), terms.clone(), phases.watch());
            thread::Builder::new()
                .name(format!("bemi-relay-{place}"))
                .spawn(move || Running::new(place, all, poll, orders, terms, watcher).run())?;
        }
        Ok(all)
    }

    /// Relays until either side, or the proxy, ends it; `None` when the relay was lost, as its loop was stopped.
    ///
    /// # Errors
    /// When there are too many open files.
    pub async fn relay(&self, mut relay: Box<Relay>) -> io::Result<Option<(Box<Relay>, End)>> {
        relay.leave_runtime()?;
        let (ended, end) = oneshot::channel();
        self.give(load::place(self.loads()), relay, ended);
        Ok(end.await.ok())
    }

    /// Ends the threads; what they still relay is dropped.
    pub fn stop(&self) {
        self.0.iter().for_each(|event_loop| event_loop.order(Order::Stop));
    }

    fn loads(&self) -> impl Iterator<Item = Load> + Clone {
        let now = milliseconds(wall());
        self.0.iter().map(move |event_loop| Load {
            is_busy: event_loop.busy_until.load(Ordering::Relaxed) > now,
            relays: event_loop.relays.load(Ordering::Relaxed),
        })
    }

    fn give(&self, place: usize, relay: Box<Relay>, ended: Ended) {
        if let Some(event_loop) = self.0.get(place) {
            event_loop.relays.fetch_add(1, Ordering::Relaxed);
            event_loop.order(Order::Relay(relay, ended));
        }
    }

    fn taken(&self, place: usize) {
        if let Some(event_loop) = self.0.get(place) {
            event_loop.relays.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl EventLoop {
    fn new() -> io::Result<(Self, (Poll, mpsc::Receiver<Order>))> {
        let poll = Poll::new()?;
        let alarm = Arc::new(Alarm(mio::Waker::new(poll.registry(), WOKEN)?));
        let (orders, received) = mpsc::channel();
        let event_loop = Self {
            orders,
            alarm,
            busy_until: AtomicU64::new(0),
            relays: AtomicUsize::new(0),
        };
        Ok((event_loop, (poll, received)))
    }

    fn order(&self, order: Order) {
        // A loop that has stopped drops the order, and whoever waits for its end learns that.
        _ = self.orders.send(order);
        self.alarm.wake_by_ref();
    }
}

/// The thread's own.
struct Running {
    place: usize,
    all: EventLoops,
    meter: Meter,
    poll: Poll,
    orders: mpsc::Receiver<Order>,
    relays: Slab<Relayed>,
    /// Whose turn it is, by their place among the relays.
    turns: VecDeque<usize>,
    watcher: Watcher,
    waker: Waker,
    scratch: Scratch,
}

struct Relayed {
    relay: Box<Relay>,
    ended: Ended,
    /// It is among those whose turn it is.
    is_due: bool,
    /// How many it had since the meter's window began.
    turns: u32,
}

impl Running {
    fn new(
        place: usize,
        all: EventLoops,
        poll: Poll,
        orders: mpsc::Receiver<Order>,
        terms: Terms,
        watcher: Watcher,
    ) -> Self {
        let waker = all.0.get(place).map_or_else(
            || Waker::noop().clone(),
            |event_loop| Waker::from(Arc::clone(&event_loop.alarm)),
        );
        Self {
            place,
            all,
            meter: Meter::new(terms, now()),
            poll,
            orders,
            relays: Slab::new(),
            turns: VecDeque::new(),
            watcher,
            waker,
            scratch: Scratch::default(),
        }
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut phase = Phase::Running;
        loop {
            let patience = (!self.turns.is_empty()).then_some(Duration::ZERO);
            match self.poll.poll(&mut events, patience) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "an event loop cannot wait for its sockets");
                    return;
                }
            }
            self.prefetch_told(&events);
            for event in &events {
                match event.token() {
                    WOKEN => {
                        if !self.obey() {
                            return;
                        }
                    }
                    token => self.told(token, event),
                }
            }
            let before = phase;
            phase = self.watcher.poll(&Context::from_waker(&self.waker));
            if phase != before {
                self.relays
                    .iter_mut()
                    .for_each(|(_, relayed)| relayed.is_due = true);
                self.turns = self.relays.iter().map(|(place, _)| place).collect();
            }
            let due = self.take_turns(phase);
            if self.meter.waited(due > 0) {
                self.look_at_load();
            }
        }
    }

    /// Gives all that are due their turns, and says how many they were. Whoever is not done then is due again, behind all
    /// others and what has arrived meanwhile.
    fn take_turns(&mut self, phase: Phase) -> usize {
        let due = self.turns.len();
        (0..2)
            .filter_map(|others| self.next_behind(others))
            .for_each(prefetch);
        for _ in 0..due {
            let Some(place) = self.turns.pop_front() else {
                break;
            };
            // What is behind a pointer can be asked for once the pointer is there.
            if let Some(second) = self.next_behind(1) {
                prefetch(second);
            }
            if let Some(next) = self.next_behind(0) {
                next.prefetch_session();
            }
            self.turn(place, phase);
        }
        due
    }

    /// Whose turn comes after so many others.
    fn next_behind(&self, others: usize) -> Option<&Relay> {
        let relayed = self.relays.get(*self.turns.get(others)?)?;
        Some(&relayed.relay)
    }

    fn look_at_load(&mut self) {
        let turns = self.relays.iter().map(|(_, relayed)| relayed.turns);
        let Some(is_to_hand_over) = self.meter.look(now(), turns) else {
            return;
        };
        if let Some(own) = self.all.0.get(self.place) {
            let until = milliseconds(self.meter.busy_until());
            own.busy_until.store(until, Ordering::Relaxed);
        }
        if is_to_hand_over {
            self.hand_over();
        }
        self.relays.iter_mut().for_each(|(_, relayed)| relayed.turns = 0);
    }

    /// Gives half of the relays that had a turn in this window to another loop.
    fn hand_over(&mut self) {
        let Some((successor, most)) = load::successor(self.all.loads(), self.place) else {
            return;
        };
        let active = self.relays.iter().filter(|(_, relayed)| relayed.turns > 0);
        let moved: Vec<usize> = active
            .map(|(place, _)| place)
            .skip(1)
            .step_by(2)
            .take(most)
            .collect();
        for place in moved {
            let relayed = self.dismiss(place);
            self.all.give(successor, relayed.relay, relayed.ended);
        }
    }

    /// Takes out a relay whose events are not told here any longer.
    fn dismiss(&mut self, place: usize) -> Relayed {
        let mut relayed = self.relays.remove(place);
        for party in Party::BOTH {
            if let Some(polled) = relayed.relay.polled(party) {
                // A socket that is not watched is none to forget.
                _ = polled.deregister(self.poll.registry());
            }
        }
        self.all.taken(self.place);
        relayed
    }

    /// Whether to go on.
    fn obey(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Relay(relay, ended)) => self.admit(relay, ended),
                Ok(Order::Stop) | Err(mpsc::TryRecvError::Disconnected) => return false,
                Err(mpsc::TryRecvError::Empty) => return true,
            }
        }
    }

    fn admit(&mut self, mut relay: Box<Relay>, ended: Ended) {
        let place = self.relays.vacant_key();
        let registry = self.poll.registry();
        let registered = Party::BOTH.into_iter().try_for_each(|party| {
            let polled = relay.polled(party);
            polled.map_or(Ok(()), |polled| polled.register(registry, token(place, party)))
        });
        if let Err(error) = registered {
            self.all.taken(self.place);
            _ = ended.send((relay, End::ClientGone(error)));
            return;
        }
        self.relays.insert(Relayed {
            relay,
            ended,
            is_due: true,
            turns: 0,
        });
        self.turns.push_back(place);
    }

    /// Each event is noted down in its socket, and one does not wait for the memory of another.
    fn prefetch_told(&self, events: &Events) {
        for event in events {
            let (place, party) = whose(event.token());
            if let Some(relayed) = self.relays.get(place) {
                relayed.relay.prefetch_side(party);
            }
        }
    }

    fn told(&mut self, token: Token, event: &mio::event::Event) {
        let (place, party) = whose(token);
        // One that has ended may have had events told together with the last one.
        let Some(relayed) = self.relays.get_mut(place) else {
            return;
        };
        if let Some(polled) = relayed.relay.polled(party) {
            polled.told(event);
        }
        if !std::mem::replace(&mut relayed.is_due, true) {
            self.turns.push_back(place);
        }
    }

    fn turn(&mut self, place: usize, phase: Phase) {
        let Some(relayed) = self.relays.get_mut(place) else {
            return;
        };
        relayed.is_due = false;
        relayed.turns = relayed.turns.saturating_add(1);
        let mut context = Context::from_waker(&self.waker);
        // A defect in one connection must not end the others of this thread. Nothing is used of it afterwards.
        let turn = catch_unwind(AssertUnwindSafe(|| {
            relayed.relay.turn(&mut context, phase, &mut self.scratch)
        }));
        match turn {
            Ok(Turn::Waits) => {}
            Ok(Turn::Goes) => {
                relayed.is_due = true;
                self.turns.push_back(place);
            }
            Ok(Turn::Ends(end)) => {
                let relayed = self.dismiss(place);
                _ = relayed.ended.send((relayed.relay, end));
            }
            Err(_) => drop(self.dismiss(place)),
        }
    }
}

fn now() -> Moment {
    let running = clock_gettime(ClockId::ThreadCPUTime);
    Moment {
        wall: wall(),
        running: running.try_into().unwrap_or_default(),
    }
}

fn wall() -> Duration {
    clock_gettime(ClockId::Monotonic).try_into().unwrap_or_default()
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn token(place: usize, party: Party) -> Token {
    Token(place * 2 + usize::from(party == Party::Server))
}

fn whose(Token(token): Token) -> (usize, Party) {
    let party = if token.is_multiple_of(2) {
        Party::Client
    } else {
        Party::Server
    };
    (token / 2, party)
}

#[cfg(test)]
mod tests;
