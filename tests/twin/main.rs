//! Random sessions against a twin: the same bytes are sent to the server and, through the proxy, to its twin, and the
//! same messages must come back, in the same order, and leave the same rows behind.
//!
//! Where tests/differential asks whose context a row gets, this asks whether a client can tell the proxy from the
//! server at all. It speaks bytes: well-formed messages in every order, broken ones, cut at any place, with or without
//! waiting for replies; and what goes between proxy and server is cut anew on its way.
//!
//! `BEMI_SEED` is the seed of the first session, each further one has the next; `BEMI_SESSIONS` is how many there are.
//! What is kept out of it, and why, stands in `compare.rs` (what may differ in a reply) and `statements.rs` (what is
//! never said).

mod broken;
mod chopper;
mod compare;
mod copying;
mod coverage;
#[path = "../differential/dice.rs"]
mod dice;
mod extended;
mod fixture;
mod generate;
mod message;
mod opening;
mod session;
mod shrink;
mod simple;
mod speak;
mod stage;
mod statements;
#[path = "../support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicU64, Ordering};

use coverage::Coverage;
use session::Session;
use stage::Stage;
use support::{number, panics};

/// Fewer sessions than this need not have shown everything there is.
const ENOUGH_FOR_ALL: u64 = 500;

/// How often a smaller session is tried before it counts as sound: some failures are a matter of timing.
const ATTEMPTS: usize = 3;

/// Threads; while one waits for the server, the others keep the proxy busy.
const SPEAKERS: usize = 6;

#[test]
fn a_client_cannot_tell_the_proxy_from_the_server_whatever_bytes_it_sends() {
    let first = number("BEMI_SEED", 1);
    let sessions = number("BEMI_SESSIONS", 700);
    if sessions == 1 {
        println!("{}", generate::session(first));
    }
    let watch = panics::watch();
    let stages: Vec<Stage> = (0..SPEAKERS.min(sessions as usize)).map(Stage::new).collect();
    let next = AtomicU64::new(0);
    let mut coverage = Coverage::default();
    std::thread::scope(|scope| {
        let speakers: Vec<_> = stages
            .into_iter()
            .map(|stage| scope.spawn(|| Speaker::new(stage, first).speak_up_to(sessions, &next)))
            .collect();
        for speaker in speakers {
            match speaker.join() {
                Ok(covered) => coverage.add(covered),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    println!("{coverage}");
    if sessions >= ENOUGH_FOR_ALL {
        coverage.assert_complete();
    }
    drop(watch);
}

struct Speaker {
    stage: Stage,
    first: u64,
    coverage: Coverage,
}

impl Speaker {
    fn new(stage: Stage, first: u64) -> Self {
        let coverage = Coverage::default();
        Self {
            stage,
            first,
            coverage,
        }
    }

    /// Takes one session after the other, and returns what they had in them.
    fn speak_up_to(mut self, sessions: u64, next: &AtomicU64) -> Coverage {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= sessions {
                let logged = self.stage.logged();
                self.coverage.count_logged(logged);
                return self.coverage;
            }
            let session = generate::session(self.first + number);
            match self.stage.hold(&session) {
                Ok(held) => self.coverage.count(&session, &held),
                Err(why) => self.fail(&session, why, next),
            }
        }
    }

    fn fail(&mut self, session: &Session, why: String, next: &AtomicU64) -> ! {
        // The others need not go on.
        next.store(u64::MAX / 2, Ordering::Relaxed);
        let stage = &mut self.stage;
        if let Some(servers) = stage.differs_by_itself(session) {
            panic!("{session}\nThe server answers otherwise the second time, without a proxy:\n{servers}");
        }
        let mut fails = |session: &Session| (0..ATTEMPTS).find_map(|_| stage.hold(session).err());
        let seed = session.seed;
        let replay = format!("BEMI_SEED={seed} BEMI_SESSIONS=1 cargo test --test twin");
        match fails(session) {
            Some(reason) => {
                let (smallest, reason) = shrink::shrink(session, reason, fails);
                panic!("{smallest}\n{reason}\n\nAgain: {replay}\nFirst seen as: {why}")
            }
            None => {
                panic!("{session}\n{why}\n\nHeld again, it does not fail: it needs luck.\nAgain: {replay}")
            }
        }
    }
}
