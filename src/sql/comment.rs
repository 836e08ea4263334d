//! Context that comments carry.
//!
//! `/*Bemi {..} Bemi*/` counts anywhere outside of literals. The comments of instrumentation, `/*key='value'*/` and
//! `/*key:value*/`, look like many a comment that means nothing, so they count only as the first or last thing of a
//! statement and under a strict grammar: `/* TODO: x */`, `/*+ hint */` and licences are never taken for context.
//! Several may stand side by side. What follows the last `;` of a text belongs to the statement before, as
//! instrumentation appends behind the semicolon.

use std::ops::Range;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::sql::lexer::{Lexer, TokenKind};
use crate::sql::{Dialect, Rules};

/// A context: the keys of a JSON object, in the order they came in.
pub type Context = Map<String, Value>;

/// What the comments of a statement say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Comments {
    /// Merged, later ones override; None when no key came in.
    pub context: Option<Context>,
    /// What was wrong with those that claim to be context.
    pub problems: Vec<String>,
}

/// A comment, and whether it stands where those of instrumentation may stand.
struct Candidate {
    range: Range<usize>,
    at_the_edge: bool,
}

/// Reads the comments of a statement, and those of the tail behind its `;`.
pub fn comments(
    text: &[u8],
    range: Range<usize>,
    tail: Range<usize>,
    dialect: Dialect,
    rules: &Rules,
) -> Comments {
    let mut comments = Comments::default();
    let mut context = Context::new();
    let mut bytes_left = rules.max_context_bytes;
    for candidate in candidates(text, range, tail, dialect) {
        let Some(inside) = text.get(candidate.range).and_then(inside) else {
            continue;
        };
        let decoded = dialect.encoding.decode(inside);
        let found = match bemi(&decoded, &rules.affix) {
            None if candidate.at_the_edge => instrumentation(&decoded, rules),
            None => continue,
            Some(Ok(object)) => object,
            Some(Err(problem)) => {
                comments
                    .problems
                    .push(format!("context comment ignored: {problem}"));
                continue;
            }
        };
        if found.is_empty() {
            continue;
        }
        let Some(left) = bytes_left.checked_sub(inside.len()) else {
            let most = rules.max_context_bytes;
            comments.problems.push(format!(
                "context comment ignored: more than {most} bytes of context"
            ));
            continue;
        };
        bytes_left = left;
        context.extend(found);
    }
    comments.context = Some(context).filter(|context| !context.is_empty());
    comments
}

/// The block comments of a statement in their order. At its edge are those with no token between them and the
/// start or the end.
fn candidates(text: &[u8], range: Range<usize>, tail: Range<usize>, dialect: Dialect) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut last_run = 0;
    let mut at_start = true;
    for token in Lexer::new(text.get(..range.end).unwrap_or(text), range.start, dialect) {
        match token.kind {
            TokenKind::BlockComment => {
                candidates.push(Candidate {
                    range: token.start..token.end,
                    at_the_edge: at_start,
                });
            }
            TokenKind::LineComment => (),
            _ => {
                at_start = false;
                last_run = candidates.len();
            }
        }
    }
    for candidate in candidates.iter_mut().skip(last_run) {
        candidate.at_the_edge = true;
    }
    let tail = Lexer::new(text.get(..tail.end).unwrap_or(text), tail.start, dialect);
    let block = tail.filter(|token| token.kind == TokenKind::BlockComment);
    candidates.extend(block.map(|token| Candidate {
        range: token.start..token.end,
        at_the_edge: true,
    }));
    candidates
}

fn inside(comment: &[u8]) -> Option<&[u8]> {
    comment.strip_prefix(b"/*")?.strip_suffix(b"*/")
}

/// The object in `Bemi {..} Bemi`; None if the comment is not about context, the error if it is not well-formed.
fn bemi(inside: &str, affix: &str) -> Option<Result<Context, String>> {
    let behind = inside.trim().strip_prefix(affix)?;
    let json = match behind.strip_suffix(affix) {
        Some(json) if json.starts_with(|c: char| c.is_whitespace() || c == '{') => json,
        _ if behind.trim_start().starts_with('{') => {
            return Some(Err(format!("it starts but does not end with {affix}")));
        }
        _ => return None,
    };
    Some(match serde_json::from_str(json) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("it is not a JSON object".to_owned()),
        Err(error) => Err(format!("it is not valid JSON: {error}")),
    })
}

/// The pairs that instrumentation wrote, as far as the rules let them count.
fn instrumentation(inside: &str, rules: &Rules) -> Context {
    let pairs = rules.sqlcommenter.then(|| sqlcommenter(inside.trim())).flatten();
    let pairs = pairs.or_else(|| rules.marginalia.then(|| marginalia(inside.trim())).flatten());
    pairs
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, Value::String(value)))
        .collect()
}

/// `key='value',..` where both are percent-encoded, so neither holds white space, quotes, or anything but ASCII.
fn sqlcommenter(inside: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = inside;
    loop {
        let (key, behind) = rest.split_once('=')?;
        let behind = behind.strip_prefix('\'')?;
        let is_key = |c: char| c.is_ascii_alphanumeric() || "-_.~%".contains(c);
        if key.is_empty() || !key.chars().all(is_key) {
            return None;
        }
        let (value, behind) = quoted(behind)?;
        pairs.push((percent_decoded(key)?, percent_decoded(&value)?));
        let behind = behind.trim_ascii_start();
        if behind.is_empty() {
            return Some(pairs);
        }
        rest = behind.strip_prefix(',')?.trim_ascii_start();
    }
}

/// Up to the quote that no backslash escapes, and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(
                chars
                    .next()
                    .map(|(_, escaped)| escaped)
                    .filter(|c| matches!(c, '\'' | '\\'))?,
            ),
            c if c.is_ascii_graphic() => value.push(c),
            _ => return None,
        }
    }
    None
}

/// None unless every percent sign is one of an encoding, and the whole is UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let is_encoded =
        |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !text.split('%').skip(1).all(is_encoded) {
        return None;
    }
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

/// `key:value,..` as Marginalia and Rails write it: keys are lower-case words, values hold no white space but behind
/// `line`, which names a place in the code.
fn marginalia(inside: &str) -> Option<Vec<(String, String)>> {
    let pair = |part: &str| {
        let (key, value) = part.split_once(':')?;
        let starts = key.starts_with(|c: char| c.is_ascii_lowercase());
        let is_key = starts
            && key
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        let is_url = value.starts_with("//");
        let spaces = if key == "line" {
            value.starts_with(char::is_whitespace)
        } else {
            value.contains(char::is_whitespace)
        };
        let is_value = !value.is_empty() && !is_url && !spaces && !value.contains(char::is_control);
        (is_key && is_value).then(|| (key.to_owned(), value.to_owned()))
    };
    inside.split(',').map(pair).collect()
}
