//! Makes a failing script smaller while it still fails.

use std::time::{Duration, Instant};

use super::judge;
use super::script::{Message, Script};

/// Shrinking stops here; what is left fails, if not in the shortest way.
const PATIENCE: Duration = Duration::from_secs(90);

/// The smallest script found for which `fails` still finds a reason, and that reason.
pub fn shrink(
    script: &Script,
    reason: String,
    mut fails: impl FnMut(&Script) -> Option<String>,
) -> (Script, String) {
    let until = Instant::now() + PATIENCE;
    let (mut best, mut why) = (script.clone(), reason);
    loop {
        let smaller = candidates(&best)
            .take_while(|_| Instant::now() < until)
            .find_map(|candidate| {
                let reason = fails(&candidate).filter(|reason| is_alike(reason, &why))?;
                Some((candidate, reason))
            });
        match smaller {
            Some((candidate, reason)) => (best, why) = (candidate, reason),
            None => return (best, why),
        }
    }
}

/// Whether both are about replies, or both about rows: a script may fail in another way than it did before.
fn is_alike(reason: &str, other: &str) -> bool {
    judge::is_about_replies(reason) == judge::is_about_replies(other)
}

/// Everything with one thing less, the larger things first.
fn candidates(script: &Script) -> impl Iterator<Item = Script> {
    let steps = (0..script.steps.len()).map(|at| {
        let mut smaller = script.clone();
        smaller.steps.remove(at);
        smaller
    });
    let whole_writes = script.steps.iter().enumerate().filter_map(|(at, step)| {
        step.parts?;
        let mut simpler = script.clone();
        simpler.steps[at].parts = None;
        Some(simpler)
    });
    let messages = script.steps.iter().enumerate().flat_map(move |(at, step)| {
        let parts = Some(step.messages.len()).filter(|n| *n > 1).unwrap_or(0);
        (0..parts).filter_map(move |part| without_message(script, at, part))
    });
    let statements = script.steps.iter().enumerate().flat_map(move |(at, step)| {
        step.messages
            .iter()
            .enumerate()
            .flat_map(move |(part, message)| match message {
                Message::Query(statements) if statements.len() > 1 => (0..statements.len())
                    .map(|index| without_statement(script, at, part, index))
                    .collect(),
                _ => Vec::new(),
            })
    });
    steps
        .chain(whole_writes)
        .chain(messages)
        .chain(statements)
        .filter(|candidate| !mixes(candidate))
}

/// Whether a Query comes before the Sync of what was said in the extended protocol: servers disagree on what that is.
fn mixes(script: &Script) -> bool {
    let mut is_open = false;
    script
        .steps
        .iter()
        .flat_map(|step| &step.messages)
        .any(|message| {
            match message {
                Message::Query(_) | Message::FunctionCall => return is_open,
                Message::Sync => is_open = false,
                Message::CopyData(_) | Message::CopyDone | Message::CopyFail | Message::Flush => {}
                _ => is_open = true,
            }
            false
        })
}

/// A refusal belongs to what is bound and executed, and the end of its data to a COPY: those stay together.
fn without_message(script: &Script, step: usize, message: usize) -> Option<Script> {
    let mut smaller = script.clone();
    let messages = &mut smaller.steps[step].messages;
    let is_refused = |message: &Message| matches!(message, Message::Execute { refusal: Some(_), .. });
    let copies = |message: &Message| message.to_string().contains("COPY");
    if matches!(messages[message], Message::CopyDone | Message::CopyFail) && messages.iter().any(copies) {
        return None;
    }
    if matches!(messages[message], Message::Parse { .. } | Message::Bind { .. })
        && messages[message..].iter().any(is_refused)
    {
        return None;
    }
    messages.remove(message);
    Some(smaller)
}

fn without_statement(script: &Script, step: usize, message: usize, statement: usize) -> Script {
    let mut smaller = script.clone();
    if let Message::Query(statements) = &mut smaller.steps[step].messages[message] {
        statements.remove(statement);
    }
    smaller
}
