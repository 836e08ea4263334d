//! Whatever is killed, and whenever: each committed change is stored once, in order, with its context.
//!
//! Several writers write what they know; the tracker, as a process of its own, follows; meanwhile things go wrong. In
//! the end the table is compared with a journal of the source's log that was read without the tracker, with what the rows
//! say about themselves, and with what the writers know.
//!
//! `CHAOS_KILLS` is how often something goes wrong on two servers; on one that is source and destination, half as
//! often. `BEMI_SEED` decides what the writers do, what goes wrong, and how much time is between (not what the clock makes
//! of it).

mod change;
#[path = "../differential/dice.rs"]
#[allow(dead_code)]
mod dice;
mod forwarder;
mod journal;
mod load;
mod mishap;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod transaction;
mod verify;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bemi::replication::Lsn;
use dice::Dice;
use load::Load;
use mishap::Mishap;
use rustix::process::Signal;
use stage::Stage;
use support::number;

/// One after the other: two at a time would wait for each other's servers.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn from_one_server_to_another_each_change_is_stored_once() {
    run(false, number("CHAOS_KILLS", 6));
}

#[test]
fn on_one_server_each_change_is_stored_once() {
    run(true, number("CHAOS_KILLS", 6) / 2);
}

fn run(is_one_server: bool, mishaps: u64) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let seed = number("BEMI_SEED", 1);
    let began = Instant::now();
    println!(
        "\n{}, seed {seed}",
        if is_one_server {
            "one server"
        } else {
            "two servers"
        }
    );
    let mut stage = Stage::new(is_one_server);
    let load = Load::start(&stage.runtime, stage.source().cluster.port(), seed);
    let counts = go_wrong(&mut stage, mishaps, seed);
    let runtime = stage.runtime.clone();
    let committed = runtime.block_on(load.end());
    catch_up(&mut stage);
    stage.tracker.signal(Signal::TERM);
    let status = stage.tracker.end_within(Duration::from_secs(30));
    assert!(status.success(), "{status}:\n{}", stage.tail());
    let changes = verify::verify(&stage, &committed);

    for (label, count) in &counts {
        println!("  {label:<45} {count:>8}");
    }
    println!("  {:<45} {:>8}", "together", counts.values().sum::<u64>());
    println!(
        "  {:<45} {:>8}",
        "transactions committed",
        committed.transactions.len()
    );
    println!(
        "  {:<45} {:>8}",
        "transactions rolled back", committed.rolled_back
    );
    println!(
        "  {:<45} {:>8}",
        "transactions whose answer was lost", committed.lost_answers
    );
    println!("  {:<45} {changes:>8}", "changes verified");
    println!("  {:<45} {:>6} s", "duration", began.elapsed().as_secs());
    println!(
        "  again: BEMI_SEED={seed} CHAOS_KILLS={}",
        number("CHAOS_KILLS", 6)
    );
    assert!(changes > 100, "too few to show anything");
}

/// Lets things go wrong at random moments, and counts them.
fn go_wrong(stage: &mut Stage, mishaps: u64, seed: u64) -> BTreeMap<String, u64> {
    let mut dice = Dice::new(seed);
    let all = Mishap::all(stage.sides.len());
    let mut counts = BTreeMap::new();
    for number in 1..=mishaps {
        sleep(Duration::from_millis(dice.between(50, 1_000) as u64));
        let mishap = dice.weighted(&all);
        let label = mishap.label(stage);
        println!(
            "  {:6.1} s  {number:>3}  {label}",
            stage.began.elapsed().as_secs_f64()
        );
        stage.tracker_runs();
        mishap.happen(stage, &mut dice);
        *counts.entry(label).or_default() += 1;
        // Some come while the last one is still being got over.
        if dice.chance(75) {
            let before = progress(stage);
            stage.wait_for("the progress to go on", |stage| progress(stage) > before);
        }
    }
    counts
}

fn progress(stage: &mut Stage) -> Option<Lsn> {
    let rows = stage.ask(stage.store(), "SELECT lsn::text FROM changes_progress", &[])?;
    rows.first()?.get::<_, Option<&str>>(0)?.parse().ok()
}

/// Waits until the last of all changes is stored, and the source knows.
fn catch_up(stage: &mut Stage) {
    stage.wait_for("the source", |stage| {
        let last = "INSERT INTO ledger VALUES (-1, 1, 1, NULL) ON CONFLICT DO NOTHING RETURNING pg_current_wal_lsn()";
        stage.ask(0, last, &[]).is_some()
    });
    stage.wait_for("the last change", |stage| {
        let query = "SELECT FROM changes WHERE \"table\" = 'ledger' AND after ->> 'writer' = '-1'";
        stage
            .ask(stage.store(), query, &[])
            .is_some_and(|rows| rows.len() == 1)
    });
    let stored = progress(stage).map(|lsn| lsn.to_string());
    stage.wait_for("the source to know", |stage| {
        let query = "SELECT active AND confirmed_flush_lsn >= $1::text::pg_lsn FROM pg_replication_slots
                      WHERE slot_name = 'bemi'";
        let rows = stage.ask(0, query, &[&stored]).unwrap_or_default();
        rows.first().is_some_and(|row| row.get(0))
    });
}
