//! Where logged-in connections live: a thread that waits for their sockets and has their relays move what came.
//!
//! Until the login, and for whatever comes once in a connection's life, tokio is the right tool. What a relay does in
//! each of its turns is a read and a write; around those, a task that is scheduled, wakers that are handed out and
//! budgets that are kept take as long as all decisions. So relays leave the runtime: this loop knows which sockets
//! have something to say and asks their relays, in turn.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use mio::{Events, Poll, Token};
use slab::Slab;
use tokio::sync::oneshot;

use super::phase::{Phase, Watcher};
use super::relay::{End, Party, Relay, Scratch, Turn};

/// Events told at once; more wait for the next time.
const EVENTS: usize = 1024;

/// Of the thread's own waker. All others are those of relays, twice their number, and one more for the server's side.
const WOKEN: Token = Token(usize::MAX);

/// A way to hand relays to an event loop.
#[derive(Debug, Clone)]
pub(super) struct EventLoop {
    orders: mpsc::Sender<Order>,
    alarm: Arc<Alarm>,
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

impl EventLoop {
    /// Starts a thread of this name.
    ///
    /// # Errors
    /// When the system gives no thread or no descriptors.
    pub fn start(name: String, watcher: Watcher) -> io::Result<Self> {
        let poll = Poll::new()?;
        let alarm = Arc::new(Alarm(mio::Waker::new(poll.registry(), WOKEN)?));
        let (orders, received) = mpsc::channel();
        let running = Running {
            poll,
            orders: received,
            relays: Slab::new(),
            turns: VecDeque::new(),
            watcher,
            waker: Waker::from(Arc::clone(&alarm)),
            scratch: Scratch::default(),
        };
        thread::Builder::new().name(name).spawn(move || running.run())?;
        Ok(Self { orders, alarm })
    }

    /// Relays until either side, or the proxy, ends it; `None` when the loop has lost it, as it was stopped.
    ///
    /// # Errors
    /// When there are too many open files.
    pub async fn relay(&self, mut relay: Box<Relay>) -> io::Result<Option<(Box<Relay>, End)>> {
        relay.leave_runtime()?;
        let (ended, end) = oneshot::channel();
        self.order(Order::Relay(relay, ended));
        Ok(end.await.ok())
    }

    /// Ends the thread; what it still relays is dropped.
    pub fn stop(&self) {
        self.order(Order::Stop);
    }

    fn order(&self, order: Order) {
        // A loop that has stopped drops the order, and whoever waits for its end learns that.
        _ = self.orders.send(order);
        self.alarm.wake_by_ref();
    }
}

/// The thread's own.
struct Running {
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
}

impl Running {
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
        }
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
            _ = ended.send((relay, End::ClientGone(error)));
            return;
        }
        self.relays.insert(Relayed {
            relay,
            ended,
            is_due: true,
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
                let mut relayed = self.relays.remove(place);
                for party in Party::BOTH {
                    if let Some(polled) = relayed.relay.polled(party) {
                        // A socket that is not watched is none to forget.
                        _ = polled.deregister(self.poll.registry());
                    }
                }
                _ = relayed.ended.send((relayed.relay, end));
            }
            Err(_) => drop(self.relays.remove(place)),
        }
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

    use super::super::phase::Phases;
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

    fn start(event_loop: &EventLoop, relay: Box<Relay>) -> JoinHandle<io::Result<Ended>> {
        let event_loop = event_loop.clone();
        tokio::spawn(async move { event_loop.relay(relay).await })
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
        let event_loop = EventLoop::start("test".to_owned(), phases.watch()).expect("a thread");
        let (relay, mut client, server) = relay();
        let relayed = start(&event_loop, relay);
        assert_eq!(received(&client, LOGGED_IN.len()), LOGGED_IN);
        client.write_all(TERMINATE).expect("written");
        assert_eq!(received(&server, TERMINATE.len()), TERMINATE);
        drop(server);
        let ended = end(relayed).await;
        assert!(matches!(ended, Some((_, End::ByServer))));
        event_loop.stop();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_end_of_the_proxy_ends_a_relay_that_is_idle() {
        let phases = Phases::default();
        let event_loop = EventLoop::start("test".to_owned(), phases.watch()).expect("a thread");
        let (relay, client, _server) = relay();
        let relayed = start(&event_loop, relay);
        assert_eq!(received(&client, LOGGED_IN.len()), LOGGED_IN);
        phases.enter(Phase::Draining);
        let ended = end(relayed).await;
        assert!(matches!(ended, Some((_, End::Shutdown))));
        event_loop.stop();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_waits_for_a_loop_that_stops_learns_it() {
        let phases = Phases::default();
        let event_loop = EventLoop::start("test".to_owned(), phases.watch()).expect("a thread");
        let (relay, client, _server) = relay();
        let relayed = start(&event_loop, relay);
        assert_eq!(received(&client, LOGGED_IN.len()), LOGGED_IN);
        event_loop.stop();
        assert!(end(relayed).await.is_none());
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
