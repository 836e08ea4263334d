//! Two ways that have the machine to themselves in turns of half a second.
//!
//! What slows down a machine with neighbours lasts for seconds, and so two runs, one after the other, differ by whatever
//! that was. Here both run at once, and each is stopped while the other goes on: what lasts for seconds is in both.
//! A pgbench that is stopped sends nothing and reads nothing, and so whoever stands between has nothing to do.
//! Each has a database of its own, as one that is stopped in a transaction keeps its locks; they change databases from round
//! to round.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Plan;
use crate::pgbench::{Figure, Load};
use crate::stage::{Stage, Way};

/// Long beside a transaction, and short beside what a neighbour does.
const TURN: Duration = Duration::from_millis(500);

/// The one that all loads are written for, and its copy.
const DATABASES: [&str; 2] = ["postgres", "twin"];

/// Copies the database with all that is in it, so that both have the same.
pub fn copy_database(stage: &Stage) {
    stage.sql(&format!(
        "CREATE DATABASE {1} TEMPLATE {0}",
        DATABASES[0], DATABASES[1]
    ));
    stage.sql("CHECKPOINT");
}

/// The figures of either way, one for each round. There are no latencies among them.
pub fn take_turns(plan: &Plan, stage: &Stage, ways: [&Way; 2], load: &Load) -> [Vec<Figure>; 2] {
    let mut figures = [Vec::new(), Vec::new()];
    for round in 0..plan.rounds {
        stage.wait_until_quiet();
        // Of four rounds, each way begins in two, once in either database.
        let mut order = [0, 1];
        order.rotate_left(round / 2 % 2);
        let databases = [0, 1].map(|at| DATABASES[(at + round) % 2]);
        for (at, figure) in run(plan, stage, ways, load, order, databases) {
            figures[at].push(figure);
        }
        for database in DATABASES {
            stage.sql_in(database, "TRUNCATE log, audited");
        }
    }
    figures
}

fn run(
    plan: &Plan,
    stage: &Stage,
    ways: [&Way; 2],
    load: &Load,
    order: [usize; 2],
    databases: [&str; 2],
) -> [(usize, Figure); 2] {
    let [first, second] = order.map(|at| {
        let begun = load.start(&stage.pgbench, ways[at], databases[at], 2 * plan.seconds);
        stop(begun.pid());
        begun
    });
    let (ends, mut turns) = ([first.end(), second.end()], [first.pid(), second.pid()]);
    let mut had = Duration::ZERO;
    while Instant::now() + 2 * TURN < ends[0] {
        for pid in turns {
            proceed(pid);
            sleep(TURN);
            stop(pid);
        }
        turns.reverse();
        had += TURN;
    }
    // What is left of their time passes while both are stopped; each then sees that it is over.
    sleep(ends[1].saturating_duration_since(Instant::now()));
    turns.into_iter().for_each(proceed);
    let [first, second] = [first, second].map(|begun| begun.figure_of_turns(had));
    [(order[0], first), (order[1], second)]
}

fn stop(pid: u32) {
    signal(pid, Signal::STOP);
}

fn proceed(pid: u32) {
    signal(pid, Signal::CONT);
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process");
    kill_process(pid, signal).expect("pgbench is still there");
}
