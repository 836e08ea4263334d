//! What the two sides said, compared message by message.
//!
//! All bytes must be the same but these:
//! - BackendKeyData is the server process's own, by number and key; its length counts.
//! - NotificationResponse starts with the number of the process that notified.

use std::fmt::Write;

use super::message::server_name;
use super::speak::Heard;
use super::support::raw::Frame;

/// How many messages are shown around the first difference.
const SHOWN_BEFORE: usize = 12;
const SHOWN_BEHIND: usize = 6;

/// The first difference.
pub fn heard(proxied: &Heard, direct: &Heard) -> Result<(), String> {
    if proxied.answers != direct.answers {
        return Err(format!(
            "to requests for encryption the proxy says {:?} and the server {:?}",
            proxied.answers.escape_ascii().to_string(),
            direct.answers.escape_ascii().to_string()
        ));
    }
    let [ours, theirs] =
        [proxied, direct].map(|heard| heard.frames.iter().map(comparable).collect::<Vec<_>>());
    if let Some(at) = (0..ours.len().max(theirs.len())).find(|&at| ours.get(at) != theirs.get(at)) {
        return Err(format!(
            "message {} differs\n through the proxy:\n{}\n from the server:\n{}",
            at + 1,
            around(proxied, &ours, at),
            around(direct, &theirs, at)
        ));
    }
    if proxied.rest != direct.rest || proxied.is_closed != direct.is_closed {
        return Err(format!(
            "the end differs\n through the proxy:\n{}\n from the server:\n{}",
            around(proxied, &ours, ours.len()),
            around(direct, &theirs, theirs.len())
        ));
    }
    if let Some((found, expected)) = proxied.kept_back {
        return Err(format!(
            "the proxy kept messages back: {found} had come when the server alone had sent {expected}\n{}",
            around(direct, &theirs, found)
        ));
    }
    Ok(())
}

/// Whether the first messages are the same, as far as both have come.
pub fn agree_so_far(proxied: &[Frame], direct: &[Frame]) -> bool {
    let mut pairs = proxied.iter().zip(direct);
    pairs.all(|(ours, theirs)| comparable(ours) == comparable(theirs))
}

fn comparable(frame: &Frame) -> Frame {
    let mut frame = frame.clone();
    match frame.tag {
        b'K' => frame.body.fill(0),
        b'A' => frame.body[..4].fill(0),
        _ => {}
    }
    frame
}

fn around(heard: &Heard, frames: &[Frame], at: usize) -> String {
    let mut text = String::new();
    let first = at.saturating_sub(SHOWN_BEFORE);
    for (number, frame) in frames
        .iter()
        .enumerate()
        .skip(first)
        .take(at - first + SHOWN_BEHIND)
    {
        let mark = if number == at { ">" } else { " " };
        _ = writeln!(text, "  {mark}{:>3} {}", number + 1, line(frame));
    }
    if at + SHOWN_BEHIND >= frames.len() {
        let end = if heard.is_closed { "closed" } else { "silence" };
        _ = writeln!(text, "      {end} {}", heard.rest.escape_ascii());
    }
    text
}

fn line(frame: &Frame) -> String {
    let body: String = frame.body.escape_ascii().to_string().chars().take(500).collect();
    format!(
        "{:<20} {} {body}",
        server_name(frame.tag),
        char::from(frame.tag).escape_default()
    )
}
