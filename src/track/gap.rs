//! Whether the stream goes on where the table ends. Pure.
//!
//! **The invariant.** The source is told that a position needs not be sent again only after the destination has
//! committed everything before it, the position itself included ([`Progress`]). So a slot is never ahead of the progress; where it is,
//! where it is gone, or where the server's history is another one, changes are missing, and no one but the operator may
//! decide to go on.

use std::fmt;

use crate::replication::Lsn;
use crate::replication::connection::System;

/// What the destination remembers of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The system that was followed.
    pub system_identifier: u64,
    /// Its timeline.
    pub timeline: u32,
    /// Everything committed before is stored. `None`: the slot was about to be made.
    pub lsn: Option<Lsn>,
}

/// The slot, as `pg_replication_slots` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its output plugin.
    pub plugin: String,
    /// Its database.
    pub database: String,
    /// What need not be sent again.
    pub confirmed: Option<Lsn>,
    /// Why it can no longer be read, in the server's words.
    pub invalid: Option<String>,
    /// The process that reads it.
    pub active_pid: Option<i32>,
}

/// How to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Make the slot, and begin there.
    CreateSlot,
    /// The slot was made, but nothing has been read from it: begin where it does.
    Adopt(Lsn),
    /// Go on from here. The timeline may be a new one, which forked off behind it.
    Resume(Lsn),
}

/// Changes are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Everything before is stored, on the system that was followed.
    pub from: Option<Lsn>,
    /// Where the slot can be read from; `None`: it has to be made anew.
    pub to: Option<Lsn>,
    /// What happened.
    pub reason: GapReason,
}

/// What happened to the slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// Another system answers under the same address.
    OtherSystem {
        /// The one that was followed.
        was: u64,
        /// The one that answers.
        is: u64,
    },
    /// The slot is not there.
    SlotGone,
    /// The publication is not there; made again, it is only there for what comes after.
    PublicationGone,
    /// The server has given it up.
    SlotInvalid(String),
    /// Somebody else read from it, or the destination has been set back.
    SlotAhead,
    /// The server went back to before what is stored.
    OtherHistory {
        /// The timeline that it is on.
        timeline: u32,
        /// Where that forked off from the one that was followed.
        forked_at: Lsn,
    },
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherSystem { was, is } => write!(
                f,
                "this is another server (system identifier {is}) than the one that was followed ({was}): restored from a \
                 dump, or upgraded"
            ),
            Self::SlotGone => f.write_str("the replication slot is gone: dropped, or left behind in a failover"),
            Self::PublicationGone => f.write_str("the publication is gone, without which the log behind it cannot be decoded"),
            Self::SlotInvalid(words) => write!(
                f,
                "the server has given the replication slot up ({words}): its log was needed elsewhere, or for too long"
            ),
            Self::SlotAhead => f.write_str(
                "the replication slot is ahead of what is stored: somebody else read it, or the destination was restored",
            ),
            Self::OtherHistory { timeline, forked_at } => write!(
                f,
                "the server is on timeline {timeline}, which forked off at {forked_at}, before what is stored: it was \
                 restored to an earlier time, or a standby that lagged was promoted"
            ),
        }
    }
}

/// How to begin, or that changes are missing.
///
/// `forked_at` is where `system.timeline` left the one of the progress; `None` where they are the same, or it is not known.
///
/// # Errors
/// [`Gap`]
pub fn judge(
    progress: Option<&Progress>,
    slot: Option<&Slot>,
    system: System,
    forked_at: Option<Lsn>,
) -> Result<Start, Gap> {
    let Some((progress, stored)) = progress.and_then(|progress| Some((progress, progress.lsn?))) else {
        // Nothing has been stored: a slot may have been made by a DBA, or by us before we were interrupted.
        return match slot.map(|slot| (slot, slot.confirmed)) {
            None => Ok(Start::CreateSlot),
            Some((Slot { invalid: None, .. }, Some(confirmed))) => Ok(Start::Adopt(confirmed)),
            Some((slot, confirmed)) => Err(Gap {
                from: confirmed,
                to: None,
                reason: GapReason::SlotInvalid(
                    slot.invalid
                        .clone()
                        .unwrap_or_else(|| "it has no position".into()),
                ),
            }),
        };
    };
    let gap = |to, reason| {
        Err(Gap {
            from: Some(stored),
            to,
            reason,
        })
    };
    let valid_slot = slot.filter(|slot| slot.invalid.is_none());
    let readable_from = valid_slot.and_then(|slot| slot.confirmed);
    if progress.system_identifier != system.identifier {
        let reason = GapReason::OtherSystem {
            was: progress.system_identifier,
            is: system.identifier,
        };
        return gap(readable_from, reason);
    }
    if progress.timeline != system.timeline {
        let forked_at = forked_at.unwrap_or(Lsn(0));
        if forked_at < stored {
            let reason = GapReason::OtherHistory {
                timeline: system.timeline,
                forked_at,
            };
            return gap(readable_from, reason);
        }
    }
    match slot {
        None => gap(None, GapReason::SlotGone),
        Some(Slot {
            invalid: Some(why), ..
        }) => gap(None, GapReason::SlotInvalid(why.clone())),
        Some(Slot {
            confirmed: Some(confirmed),
            ..
        }) if *confirmed > stored => gap(Some(*confirmed), GapReason::SlotAhead),
        Some(_) => Ok(Start::Resume(stored)),
    }
}

/// Where a timeline forked off from `ancestor`, read from its history file: a line for each of its ancestors, with the
/// position where the next one left it (server, `readTimeLineHistory`, timeline.c).
#[must_use]
pub fn fork_of(history: &str, ancestor: u32) -> Option<Lsn> {
    history.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let timeline: u32 = words.next()?.parse().ok()?;
        (timeline == ancestor)
            .then(|| words.next()?.parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::{Gap, GapReason, Progress, Slot, Start, fork_of, judge};
    use crate::replication::Lsn;
    use crate::replication::connection::System;

    const SYSTEM: System = System {
        identifier: 7,
        timeline: 1,
        flushed: Lsn(900),
    };

    fn slot(confirmed: u64) -> Slot {
        Slot {
            plugin: "pgoutput".into(),
            database: "app".into(),
            confirmed: Some(Lsn(confirmed)),
            invalid: None,
            active_pid: None,
        }
    }

    fn progress(lsn: Option<u64>) -> Progress {
        Progress {
            system_identifier: 7,
            timeline: 1,
            lsn: lsn.map(Lsn),
        }
    }

    fn reason(result: Result<Start, Gap>) -> GapReason {
        result.expect_err("a gap").reason
    }

    #[test]
    fn the_first_start_makes_a_slot_or_takes_the_one_that_was_made_for_it() {
        assert_eq!(judge(None, None, SYSTEM, None), Ok(Start::CreateSlot));
        assert_eq!(
            judge(Some(&progress(None)), None, SYSTEM, None),
            Ok(Start::CreateSlot)
        );
        assert_eq!(
            judge(None, Some(&slot(5)), SYSTEM, None),
            Ok(Start::Adopt(Lsn(5)))
        );
        assert_eq!(
            judge(Some(&progress(None)), Some(&slot(5)), SYSTEM, None),
            Ok(Start::Adopt(Lsn(5)))
        );
    }

    #[test]
    fn it_goes_on_where_the_table_ends() {
        let stored = progress(Some(100));
        for confirmed in [1, 100] {
            let start = judge(Some(&stored), Some(&slot(confirmed)), SYSTEM, None);
            assert_eq!(start, Ok(Start::Resume(Lsn(100))));
        }
    }

    #[test]
    fn a_slot_that_is_gone_invalid_or_ahead_is_a_gap() {
        let stored = progress(Some(100));
        assert_eq!(
            reason(judge(Some(&stored), None, SYSTEM, None)),
            GapReason::SlotGone
        );
        let lost = Slot {
            invalid: Some("lost".into()),
            ..slot(100)
        };
        assert_eq!(
            reason(judge(Some(&stored), Some(&lost), SYSTEM, None)),
            GapReason::SlotInvalid("lost".into())
        );
        assert!(judge(None, Some(&lost), SYSTEM, None).is_err());
        let ahead = judge(Some(&stored), Some(&slot(101)), SYSTEM, None).expect_err("a gap");
        assert_eq!((ahead.from, ahead.to), (Some(Lsn(100)), Some(Lsn(101))));
    }

    #[test]
    fn another_system_is_a_gap_even_with_a_slot_that_would_fit() {
        let other = System {
            identifier: 8,
            ..SYSTEM
        };
        let reason = reason(judge(Some(&progress(Some(100))), Some(&slot(50)), other, None));
        assert_eq!(reason, GapReason::OtherSystem { was: 7, is: 8 });
    }

    #[test]
    fn a_new_timeline_is_a_gap_only_where_it_forgets_what_is_stored() {
        let promoted = System {
            timeline: 2,
            ..SYSTEM
        };
        let at = |forked_at: Option<u64>| {
            judge(
                Some(&progress(Some(100))),
                Some(&slot(50)),
                promoted,
                forked_at.map(Lsn),
            )
        };
        assert_eq!(at(Some(100)), Ok(Start::Resume(Lsn(100))));
        assert!(matches!(
            reason(at(Some(99))),
            GapReason::OtherHistory { timeline: 2, .. }
        ));
        assert!(at(None).is_err());
    }

    #[test]
    fn the_fork_stands_in_the_history_file() {
        let history =
            "1\t0/5000000\tno recovery target specified\n\n2\t0/7000148\tbefore 2026-11-24 10:00:00+00\n";
        assert_eq!(fork_of(history, 1), "0/5000000".parse().ok());
        assert_eq!(fork_of(history, 2), "0/7000148".parse().ok());
        assert_eq!(fork_of(history, 3), None);
    }
}
