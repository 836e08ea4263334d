//! Random conversations, held with the server through the proxy and directly.
//!
//! - What the client reads must be the same, byte for byte.
//! - Each row that a conversation writes holds `current_setting('bemi.context', true)` as it was when the server wrote it.
//!   The message before the row in the write-ahead log must say the same: that is what will be blamed for it.
//!
//! Both hold in whatever order statements set, save, release, roll back, fail and write, and in whichever way
//! the client speaks the protocol. The server is the referee; nothing here models what it does.
//!
//! `BEMI_SEED` is the seed of the first script, each further one has the next; `BEMI_SEQUENCES` is how many there are.

mod author;
mod conversation;
mod dice;
mod generate;
mod judge;
mod script;
mod settings;
mod shrink;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod writes;

use std::sync::atomic::{AtomicU64, Ordering};

use generate::IDS;
use script::Script;
use stage::{Spoken, Stage};
use support::{number, proxy};

/// Scripts whose rows are looked up in the log together: decoding it costs more than speaking a script.
const BATCH: u64 = 100;

/// How often a smaller script is tried before it counts as sound: some failures are a matter of timing.
const ATTEMPTS: usize = 3;

/// Threads; while one waits for the server, the other keeps the proxy busy.
const SPEAKERS: usize = 2;

#[test]
fn whatever_is_said_in_whatever_way_the_client_reads_the_same_and_each_row_has_its_context() {
    let first = number("BEMI_SEED", 1);
    let scripts = number("BEMI_SEQUENCES", 3000);
    if scripts == 1 {
        println!("{}", generate::script(first, IDS));
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let proxy = runtime.block_on(proxy::start(support::cluster()));
    let stages: Vec<Stage> = (0..SPEAKERS).map(|_| Stage::new(proxy.port())).collect();
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let speakers: Vec<_> = stages
            .into_iter()
            .map(|stage| scope.spawn(|| Speaker { stage, first }.speak_up_to(scripts, &next)))
            .collect();
        let mut rows = 0;
        for speaker in speakers {
            match speaker.join() {
                Ok(written) => rows += written,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        assert!(
            rows as u64 > scripts || scripts < BATCH,
            "{scripts} scripts wrote only {rows} rows: they test nothing"
        );
        println!("{scripts} scripts, {rows} rows");
    });
}

struct Speaker {
    stage: Stage,
    first: u64,
}

impl Speaker {
    /// Takes one batch of scripts after the other, and returns how many rows they wrote.
    fn speak_up_to(mut self, scripts: u64, next: &AtomicU64) -> usize {
        let mut rows = 0;
        loop {
            let start = next.fetch_add(BATCH, Ordering::Relaxed);
            if start >= scripts {
                return rows;
            }
            rows += self.batch(start..scripts.min(start + BATCH), next);
        }
    }

    fn batch(&mut self, numbers: std::ops::Range<u64>, next: &AtomicU64) -> usize {
        let mut spoken = Vec::new();
        for number in numbers {
            let first_id = (number as i64 + 1) * IDS;
            let script = generate::script(self.first + number, first_id);
            if let Err(why) = self.stage.speak(&script) {
                self.fail(&script, first_id, why, next);
            }
            spoken.push(Spoken { script, first_id });
        }
        match self.stage.judge(&spoken) {
            Ok(rows) => rows,
            Err((at, why)) => self.fail(&spoken[at].script, spoken[at].first_id, why, next),
        }
    }

    fn fail(&mut self, script: &Script, first_id: i64, why: String, next: &AtomicU64) -> ! {
        // The others need not go on.
        next.store(u64::MAX / 2, Ordering::Relaxed);
        let stage = &mut self.stage;
        let mut fails = |script: &Script| (0..ATTEMPTS).find_map(|_| stage.try_alone(script, first_id).err());
        let seed = script.seed;
        let replay = format!("BEMI_SEED={seed} BEMI_SEQUENCES=1 cargo test --test differential");
        match fails(script) {
            Some(reason) => {
                let (smallest, reason) = shrink::shrink(script, reason, fails);
                panic!("{smallest}\n{reason}\n\nAgain: {replay}\nFirst seen as: {why}")
            }
            None => panic!(
                "{script}\n{why}\n\nAlone and again, seed {seed} does not fail: it needs what was said before, or luck."
            ),
        }
    }
}
