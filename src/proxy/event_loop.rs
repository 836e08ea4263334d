//! Where logged-in connections live: a thread that waits for their sockets and has their relays move what came.
//!
//! Until the login, and for whatever comes once in a connection's life, tokio is the right tool. What a relay does in
//! each of its turns is a read and a write; around those, a task that is scheduled, wakers that are handed out and
//! budgets that are kept take as long as all decisions. So relays leave the runtime: this loop knows which sockets
//! have something to say and asks their relays, in turn.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
    is_busy: AtomicBool,
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
            let (all, watcher) = (all.clone(), phases.watch());
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
        self.0.iter().map(|event_loop| Load {
            is_busy: event_loop.is_busy.load(Ordering::Relaxed),
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
            is_busy: AtomicBool::new(false),
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
    /// Windows of the meter that are over.
    windows: u32,
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
    /// The window of the meter that it had its last turn in.
    last_turn: u32,
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
            windows: 0,
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
            let patience = if self.turns.is_empty() {
                self.meter.patience()
            } else {
                Some(Duration::ZERO)
            };
            match self.poll.poll(&mut events, patience) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "an event loop cannot wait for its sockets");
                    return;
                }
            }
            for event in &events {
                match event.token() {
                    WOKEN => {
                        if !self.obey() {
                            return;
                        }
                    }
                    Token(token) => self.told(token, event),
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
            // Those that are not done get their next turn behind all others, and what has arrived meanwhile.
            for _ in 0..self.turns.len() {
                if let Some(place) = self.turns.pop_front() {
                    self.turn(place, phase);
                }
            }
            if self.meter.is_due() || events.is_empty() {
                self.look_at_load();
            }
        }
    }

    fn look_at_load(&mut self) {
        let Some(is_to_hand_over) = self.meter.look(now()) else {
            return;
        };
        if let Some(own) = self.all.0.get(self.place) {
            own.is_busy.store(self.meter.is_busy(), Ordering::Relaxed);
        }
        if is_to_hand_over {
            self.hand_over();
        }
        self.windows = self.windows.wrapping_add(1);
    }

    /// Gives half of the relays that had a turn in this window to another loop.
    fn hand_over(&mut self) {
        let Some(successor) = load::successor(self.all.loads(), self.place) else {
            return;
        };
        let had_turns = |relayed: &Relayed| relayed.last_turn == self.windows;
        let active = self.relays.iter().filter(|(_, relayed)| had_turns(relayed));
        let moved: Vec<usize> = active.map(|(place, _)| place).skip(1).step_by(2).collect();
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
            last_turn: self.windows,
        });
        self.turns.push_back(place);
    }

    fn told(&mut self, token: usize, event: &mio::event::Event) {
        let (place, party) = (
            token / 2,
            if token.is_multiple_of(2) {
                Party::Client
            } else {
                Party::Server
            },
        );
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
        relayed.last_turn = self.windows;
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
        wall: clock_gettime(ClockId::Monotonic).try_into().unwrap_or_default(),
        running: running.try_into().unwrap_or_default(),
    }
}

fn token(place: usize, party: Party) -> Token {
    Token(place * 2 + usize::from(party == Party::Server))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use bytes::BytesMut;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::super::relay::Side;
    use super::super::stream::{Detached, Stream};
    use super::*;
    use crate::config::Config;
    use crate::session::{Client, Policy, Session, VerdictCache};
    use crate::sql::cache::Limits;

    const PATIENCE: Duration = Duration::from_secs(10);
    const BUFFER: usize = 1024;
    const LOGGED_IN: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
    const TERMINATE: &[u8] = b"X\0\0\0\x04";

    /// A logged-in relay, and the other ends of its sockets: the client's and the server's.
    fn relay() -> (Box<Relay>, UnixStream, UnixStream) {
        let (client, our_client) = side(BytesMut::new());
        let (server, our_server) = side(BytesMut::from(LOGGED_IN));
        let config = Config::new("postgresql://localhost/".parse().expect("a URL"));
        let policy = Arc::new(Policy::new(&config));
        let verdicts = Arc::new(VerdictCache::new(policy.rules.clone(), Limits::default()));
        let session = Session::new(policy, verdicts, Client::default(), None);
        let relay = Box::new(Relay::new(client, server, session, BUFFER));
        (relay, our_client, our_server)
    }

    fn side(read_ahead: BytesMut) -> (Side, UnixStream) {
        let (theirs, ours) = UnixStream::pair().expect("two sockets");
        theirs.set_nonblocking(true).expect("a setting");
        ours.set_read_timeout(Some(PATIENCE)).expect("a setting");
        let socket = Detached::Unix(theirs).register().expect("a runtime");
        (Side::new(Stream::from(socket), read_ahead), ours)
    }

    fn received(mut from: &UnixStream, bytes: usize) -> Vec<u8> {
        let mut received = vec![0; bytes];
        from.read_exact(&mut received).expect("bytes");
        received
    }

    type Ended = Option<(Box<Relay>, End)>;

    fn start(event_loops: &EventLoops, relay: Box<Relay>) -> JoinHandle<io::Result<Ended>> {
        let event_loops = event_loops.clone();
        tokio::spawn(async move { event_loops.relay(relay).await })
    }

    async fn end(relayed: JoinHandle<io::Result<Ended>>) -> Ended {
        let ended = timeout(PATIENCE, relayed).await.expect("an end");
        ended.expect("no panic").expect("descriptors")
    }

    fn notice() -> Vec<u8> {
        let mut notice = vec![b'N', 0, 0, 3, 0xFF, b'M'];
        notice.resize(BUFFER - 2, b'x');
        notice.extend_from_slice(&[0, 0]);
        notice
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn bytes_go_both_ways_until_the_server_closes() {
        let phases = Phases::default();
        let event_loops = EventLoops::start(1, Terms::default(), &phases).expect("a thread");
        let (relay, mut client, server) = relay();
        let relayed = start(&event_loops, relay);
        assert_eq!(received(&client, LOGGED_IN.len()), LOGGED_IN);
        client.write_all(TERMINATE).expect("written");
        assert_eq!(received(&server, TERMINATE.len()), TERMINATE);
        drop(server);
        let ended = end(relayed).await;
        assert!(matches!(ended, Some((_, End::ByServer))));
        event_loops.stop();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_end_of_the_proxy_ends_a_relay_that_is_idle() {
        let phases = Phases::default();
        let event_loops = EventLoops::start(1, Terms::default(), &phases).expect("a thread");
        let (relay, client, _server) = relay();
        let relayed = start(&event_loops, relay);
        assert_eq!(received(&client, LOGGED_IN.len()), LOGGED_IN);
        phases.enter(Phase::Draining);
        let ended = end(relayed).await;
        assert!(matches!(ended, Some((_, End::Shutdown))));
        event_loops.stop();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_waits_for_a_loop_that_stops_learns_it() {
        let phases = Phases::default();
        let event_loops = EventLoops::start(1, Terms::default(), &phases).expect("a thread");
        let (relay, client, _server) = relay();
        let relayed = start(&event_loops, relay);
        assert_eq!(received(&client, LOGGED_IN.len()), LOGGED_IN);
        event_loops.stop();
        assert!(end(relayed).await.is_none());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_relay_that_is_handed_over_again_and_again_loses_nothing() {
        // Each looks at the clock after every wait, and has enough by then.
        let terms = Terms {
            window: Duration::ZERO,
            busy: 0.0,
            calm: 2.0,
            waits: 1,
        };
        let phases = Phases::default();
        let event_loops = EventLoops::start(3, terms, &phases).expect("threads");
        let talks: Vec<_> = (0..4)
            .map(|_| {
                let (relay, client, server) = relay();
                let relayed = start(&event_loops, relay);
                let talk = std::thread::spawn(move || converse(&client, &server));
                (relayed, talk)
            })
            .collect();
        let (mut before, mut changes) = (Vec::new(), 0);
        while !talks.iter().all(|(_, talk)| talk.is_finished()) {
            for event_loop in event_loops.0.iter() {
                event_loop.is_busy.store(false, Ordering::Relaxed);
            }
            let loads: Vec<usize> = event_loops.loads().map(|load| load.relays).collect();
            changes += usize::from(loads != before);
            before = loads;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for (relayed, talk) in talks {
            talk.join().expect("all that was said");
            assert!(matches!(end(relayed).await, Some((_, End::ByServer))));
        }
        assert!(changes > 20, "{changes} changes");
        assert!(event_loops.loads().all(|load| load.relays == 0));
        event_loops.stop();
    }

    /// Two thousand queries, each with an answer in pieces, and the end of the server.
    fn converse(mut client: &UnixStream, mut server: &UnixStream) {
        assert_eq!(received(client, LOGGED_IN.len()), LOGGED_IN);
        for number in 0..2000 {
            let text = format!("SELECT {number:04}\0");
            let query = [b"Q", &(4 + text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
            client.write_all(&query).expect("written");
            assert_eq!(received(server, query.len()), query);
            let answer = [&notice(), &LOGGED_IN[9..]].concat();
            for piece in answer.chunks(300) {
                server.write_all(piece).expect("written");
            }
            assert_eq!(received(client, answer.len()), answer);
        }
        server.shutdown(std::net::Shutdown::Both).expect("closed");
    }

    #[tokio::test]
    async fn a_side_that_has_much_to_say_gives_way() {
        let (mut relay, client, mut server) = relay();
        relay.leave_runtime().expect("descriptors");
        for _ in 0..40 {
            server.write_all(&notice()).expect("written");
        }
        let mut scratch = Scratch::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut turns = 1;
        while matches!(relay.turn(&mut context, Phase::Running, &mut scratch), Turn::Goes) {
            turns += 1;
        }
        assert!((3..10).contains(&turns), "{turns} turns");
        let expected = [LOGGED_IN.to_vec(), notice().repeat(40)].concat();
        assert_eq!(received(&client, expected.len()), expected);
    }
}
