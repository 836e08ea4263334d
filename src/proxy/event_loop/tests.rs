use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use bytes::BytesMut;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::config::Config;
use crate::proxy::polled::Detached;
use crate::proxy::relay::Side;
use crate::proxy::stream::{Socket, Stream};
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
    let socket = Socket::register(Detached::Unix(theirs)).expect("a runtime");
    (Side::new(Stream::from(socket), read_ahead), ours)
}

fn received(mut from: &UnixStream, bytes: usize) -> Vec<u8> {
    let mut received = vec![0; bytes];
    from.read_exact(&mut received).expect("bytes");
    received
}

/// A relay in a loop, and the other ends of its sockets, the client having read that it is logged in.
fn relayed(phases: &Phases) -> (EventLoops, JoinHandle<io::Result<Ended>>, UnixStream, UnixStream) {
    let event_loops = EventLoops::start(1, Terms::default(), phases).expect("a thread");
    let (relay, client, server) = relay();
    let relayed = start(&event_loops, relay);
    assert_eq!(received(&client, LOGGED_IN.len()), LOGGED_IN);
    (event_loops, relayed, client, server)
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
    let (event_loops, relayed, mut client, server) = relayed(&phases);
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
    let (event_loops, relayed, _client, _server) = relayed(&phases);
    phases.enter(Phase::Draining);
    let ended = end(relayed).await;
    assert!(matches!(ended, Some((_, End::Shutdown))));
    event_loops.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_loop_that_stops_learns_it() {
    let phases = Phases::default();
    let (event_loops, relayed, _client, _server) = relayed(&phases);
    event_loops.stop();
    assert!(end(relayed).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_handed_over_again_and_again_loses_nothing() {
    // Each looks at the clock after every wait, and has enough by then.
    let terms = Terms {
        window: Duration::ZERO,
        full: 0.0,
        busy: 0.0,
        calm: 2.0,
        memory: Duration::ZERO,
        waits: 1,
        ..Terms::default()
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
    // One after the other seems to have many, and the others nothing to do.
    let (mut before, mut changes) = (Vec::new(), 0);
    for crowded in event_loops.0.iter().cycle() {
        if talks.iter().all(|(_, talk)| talk.is_finished()) {
            break;
        }
        for event_loop in event_loops.0.iter() {
            event_loop.busy_until.store(0, Ordering::Relaxed);
        }
        crowded.relays.fetch_add(8, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(1)).await;
        crowded.relays.fetch_sub(8, Ordering::Relaxed);
        let loads: Vec<usize> = event_loops.loads().map(|load| load.relays).collect();
        changes += usize::from(loads != before);
        before = loads;
    }
    for (relayed, talk) in talks {
        talk.join().expect("all that was said");
        assert!(matches!(end(relayed).await, Some((_, End::ByServer))));
    }
    assert!(changes > 10, "{changes} changes");
    assert!(event_loops.loads().all(|load| load.relays == 0));
    event_loops.stop();
}

/// Six thousand queries, each with an answer in pieces, and the end of the server.
fn converse(mut client: &UnixStream, mut server: &UnixStream) {
    assert_eq!(received(client, LOGGED_IN.len()), LOGGED_IN);
    for number in 0..6000 {
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

#[test]
fn a_thread_that_sleeps_is_not_running() {
    let start = now();
    while now().running - start.running < Duration::from_millis(5) {}
    let awake = now();
    std::thread::sleep(Duration::from_millis(50));
    let slept = now();
    assert!(awake.wall - start.wall >= Duration::from_millis(5));
    assert!(slept.wall - awake.wall >= Duration::from_millis(50));
    assert!(slept.running - awake.running < Duration::from_millis(25));
}
