//! Makes a failing session smaller while it still fails.

use std::time::{Duration, Instant};

use super::message;
use super::opening;
use super::session::{Act, Cuts, Ending, Said, Session};

/// Shrinking stops here; what is left fails, if not in the shortest way.
const PATIENCE: Duration = Duration::from_secs(120);

/// The smallest session found for which `fails` still finds a reason, and that reason.
pub fn shrink(
    session: &Session,
    reason: String,
    mut fails: impl FnMut(&Session) -> Option<String>,
) -> (Session, String) {
    let until = Instant::now() + PATIENCE;
    let (mut best, mut why) = (session.clone(), reason);
    loop {
        let smaller = candidates(&best)
            .take_while(|_| Instant::now() < until)
            .find_map(|candidate| Some((fails(&candidate)?, candidate)));
        match smaller {
            Some((reason, candidate)) => (why, best) = (reason, candidate),
            None => return (best, why),
        }
    }
}

/// Everything with less, the larger things first.
fn candidates(session: &Session) -> impl Iterator<Item = Session> {
    let simpler = [
        Session {
            opening: opening::plain(),
            ..session.clone()
        },
        Session {
            cuts: Cuts::None,
            is_chopped: false,
            ..session.clone()
        },
        Session {
            cuts: Cuts::None,
            ..session.clone()
        },
        Session {
            ending: if session.ending == Ending::Polite {
                Ending::Polite
            } else {
                Ending::FallsSilent
            },
            ..session.clone()
        },
    ];
    let is_new = |candidate: &Session| {
        candidate.cuts != session.cuts
            || candidate.is_chopped != session.is_chopped
            || candidate.ending != session.ending
            || candidate.opening.parameters != session.opening.parameters
    };
    let simpler: Vec<_> = simpler.into_iter().filter(is_new).collect();
    let count = session.acts.len();
    let sizes = std::iter::successors(Some(count / 2), |size| Some(size / 2)).take_while(|size| *size > 0);
    let fewer = sizes.flat_map(move |size| {
        (0..count).step_by(size).map(move |start| {
            let mut smaller = session.clone();
            smaller.acts.drain(start..(start + size).min(count));
            smaller
        })
    });
    let shorter = (0..count).flat_map(move |at| shorter_queries(session, at));
    simpler.into_iter().chain(fewer).chain(shorter)
}

/// With one statement less in the Query at this place.
fn shorter_queries(session: &Session, at: usize) -> Vec<Session> {
    let Act::Say(said) = &session.acts[at] else {
        return Vec::new();
    };
    let body = said.bytes.get(5..said.bytes.len() - 1).unwrap_or_default();
    let (Some(b'Q'), Ok(text)) = (said.bytes.first(), std::str::from_utf8(body)) else {
        return Vec::new();
    };
    let statements: Vec<&str> = text.split(';').collect();
    let without = |index| {
        let mut rest = statements.clone();
        rest.remove(index);
        let mut smaller = session.clone();
        smaller.acts[at] = Act::Say(Said {
            bytes: message::query(rest.join(";").as_bytes()),
            labels: Vec::new(),
        });
        smaller
    };
    if statements.len() < 2 {
        Vec::new()
    } else {
        (0..statements.len()).map(without).collect()
    }
}
