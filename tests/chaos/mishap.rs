//! What goes wrong, and how it is made to.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::dice::Dice;
use crate::forwarder::Trap;
use crate::stage::Stage;

/// One thing that goes wrong. The number is that of the side it happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mishap {
    KillTracker,
    TerminateTracker,
    FreezeTracker,
    KillServer(usize),
    StopServerImmediately(usize),
    RestartServer(usize),
    KillBackend(usize),
    TerminateWalSender,
    TerminateStore,
    CutNetwork(usize),
    StallNetwork(usize),
    /// Of the tracker's own transaction on the destination.
    LoseCommit(Trap),
}

impl Mishap {
    /// All that can happen to so many servers, with how likely each is.
    pub fn all(servers: usize) -> Vec<(usize, Self)> {
        let mut all = vec![
            (6, Self::KillTracker),
            (2, Self::TerminateTracker),
            (1, Self::FreezeTracker),
            (2, Self::TerminateWalSender),
            (2, Self::TerminateStore),
            (3, Self::LoseCommit(Trap::OnItsWay)),
            (4, Self::LoseCommit(Trap::OnTheWayBack)),
        ];
        for side in 0..servers {
            all.extend([
                (2, Self::KillServer(side)),
                (2, Self::StopServerImmediately(side)),
                (1, Self::RestartServer(side)),
                (1, Self::KillBackend(side)),
                (1, Self::CutNetwork(side)),
                (1, Self::StallNetwork(side)),
            ]);
        }
        all
    }

    /// As the report calls it.
    pub fn label(self, stage: &Stage) -> String {
        match self {
            Self::KillServer(side)
            | Self::StopServerImmediately(side)
            | Self::RestartServer(side)
            | Self::KillBackend(side)
            | Self::CutNetwork(side)
            | Self::StallNetwork(side) => format!("{self}, {}", stage.sides[side].name),
            _others => self.to_string(),
        }
    }

    /// Makes it happen. What was killed has been started again afterwards, but may not be ready yet.
    pub fn happen(self, stage: &mut Stage, dice: &mut Dice) {
        let moment = Duration::from_millis(dice.between(0, 800) as u64);
        match self {
            Self::KillTracker => {
                stage.tracker.kill();
                stage.tracker.start_again(&[]);
            }
            Self::TerminateTracker => {
                stage.tracker.signal(Signal::TERM);
                let status = stage.tracker.end_within(Duration::from_secs(30));
                // One that has just been started does not listen for signals yet.
                assert!(
                    status.success() || status.signal() == Some(15),
                    "{status}:\n{}",
                    stage.tail()
                );
                stage.tracker.start_again(&[]);
            }
            Self::FreezeTracker => {
                stage.tracker.signal(Signal::STOP);
                sleep(moment * 5);
                stage.tracker.signal(Signal::CONT);
            }
            Self::KillServer(side) => {
                stage.sides[side].cluster.kill().expect("killed");
                sleep(moment);
                stage.sides[side].cluster.start_again().expect("a server");
            }
            Self::StopServerImmediately(side) => {
                stage.sides[side].cluster.stop_immediately().expect("stopped");
                sleep(moment);
                stage.sides[side].cluster.start_again().expect("a server");
            }
            Self::RestartServer(side) => stage.sides[side].cluster.restart().expect("a server"),
            Self::KillBackend(side) => kill_backend(stage, side),
            Self::TerminateWalSender => {
                let query = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'bemi'";
                stage.ask(0, query, &[]);
            }
            Self::TerminateStore => {
                let query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                              WHERE application_name = 'bemi track' AND backend_type = 'client backend'";
                stage.ask(stage.store(), query, &[]);
            }
            Self::LoseCommit(trap) => {
                let network = &stage.sides[stage.store()].network;
                let is_lost = stage
                    .runtime
                    .block_on(network.cut_at_commit(trap, Duration::from_secs(30)));
                assert!(
                    is_lost,
                    "the tracker has committed nothing for long; its log:\n{}",
                    stage.tail()
                );
                // One tracker finds out what became of it, or the next one does.
                if dice.chance(50) {
                    stage.tracker.kill();
                    stage.tracker.start_again(&[]);
                }
            }
            Self::CutNetwork(side) => stage.sides[side].network.cut(),
            Self::StallNetwork(side) => {
                stage.sides[side].network.stall(true);
                sleep(moment * 4);
                // What comes out of it is either what went in, late, or nothing more.
                if dice.chance(50) {
                    stage.sides[side].network.cut();
                }
                stage.sides[side].network.stall(false);
            }
        }
    }
}

/// SIGKILL for one of the tracker's own processes on a server, which then throws out everybody and recovers.
fn kill_backend(stage: &Stage, side: usize) {
    let query =
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'bemi track' ORDER BY backend_start";
    let pids = stage.ask(side, query, &[]).unwrap_or_default();
    if let Some(pid) = pids.last().and_then(|row| Pid::from_raw(row.get(0))) {
        // It may have gone meanwhile.
        let _ = kill_process(pid, Signal::KILL);
    }
}

impl fmt::Display for Mishap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::KillTracker => "SIGKILL, tracker",
            Self::TerminateTracker => "SIGTERM, tracker",
            Self::FreezeTracker => "SIGSTOP and SIGCONT, tracker",
            Self::KillServer(_) => "SIGKILL of the postmaster",
            Self::StopServerImmediately(_) => "immediate shutdown",
            Self::RestartServer(_) => "fast shutdown",
            Self::KillBackend(_) => "SIGKILL of a backend",
            Self::TerminateWalSender => "walsender terminated",
            Self::TerminateStore => "destination's sessions terminated",
            Self::CutNetwork(_) => "network cut",
            Self::StallNetwork(_) => "network stalled",
            Self::LoseCommit(Trap::OnItsWay) => "COMMIT lost on its way",
            Self::LoseCommit(Trap::OnTheWayBack) => "answer to COMMIT lost",
        })
    }
}
