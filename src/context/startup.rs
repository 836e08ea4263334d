//! The context that a startup packet sets: `bemi.context`, or `options=-c bemi.context=...`.

use std::borrow::Cow;
use std::ops::Range;

use crate::sql::VARIABLE;
use crate::wire::startup::StartupMessage;

/// The value that the session starts with, and that RESET returns to.
///
/// The server applies `options` first and parameters with the name of a setting after it, the last one counts
/// (`process_startup_options` in `postinit.c`).
pub fn startup_value(message: &StartupMessage<'_>) -> Option<Vec<u8>> {
    let direct = message
        .parameters
        .iter()
        .rev()
        .find(|(name, _)| name.eq_ignore_ascii_case(VARIABLE.as_bytes()));
    match direct {
        Some((_, value)) => Some(value.to_vec()),
        None => message.parameter("options").and_then(from_options),
    }
}

/// The parameters without any that set the context: for a pooler, which refuses what it does not know.
///
/// PgBouncer refuses `options` altogether before 1.20, and settings in it that it does not track after that: what is
/// left of `options` goes on byte for byte, and an empty rest goes away.
pub fn without_startup_value<'a>(message: &StartupMessage<'a>) -> Vec<(&'a [u8], Cow<'a, [u8]>)> {
    let kept = |&(name, value): &(&'a [u8], &'a [u8])| {
        if name.eq_ignore_ascii_case(VARIABLE.as_bytes()) {
            return None;
        }
        if name != b"options" {
            return Some((name, Cow::Borrowed(value)));
        }
        let rest = options_without_context(value);
        (value.is_empty() || !rest.trim_ascii().is_empty()).then_some((name, rest))
    };
    message.parameters.iter().filter_map(kept).collect()
}

/// The last of several counts (`process_postgres_switches`).
fn from_options(options: &[u8]) -> Option<Vec<u8>> {
    assignments(options).pop().map(|(_, value)| value)
}

fn options_without_context(options: &[u8]) -> Cow<'_, [u8]> {
    let mut rest = Cow::Borrowed(options);
    for (place, _) in assignments(options).into_iter().rev() {
        rest.to_mut().drain(place);
    }
    rest
}

/// Where `bemi.context` is set in `-c name=value`, `-cname=value` and `--name=value`, and to what.
fn assignments(options: &[u8]) -> Vec<(Range<usize>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut words = split(options).into_iter();
    while let Some((mut place, word)) = words.next() {
        let assignment = match word.as_slice() {
            b"-c" => {
                let (argument, word) = words.next().unwrap_or_default();
                place.end = place.end.max(argument.end);
                word
            }
            [b'-', b'c', rest @ ..] | [b'-', b'-', rest @ ..] => rest.to_vec(),
            _ => continue,
        };
        let Some(equals) = assignment.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        let name: Vec<u8> = assignment[..equals]
            .iter()
            .map(|b| if *b == b'-' { b'_' } else { *b })
            .collect();
        if name.eq_ignore_ascii_case(VARIABLE.as_bytes()) {
            found.push((place, assignment[equals + 1..].to_vec()));
        }
    }
    found
}

/// Splits at white space; a backslash takes the next byte literally (`pg_split_opts` in `postinit.c`). Each word
/// comes with its place.
fn split(options: &[u8]) -> Vec<(Range<usize>, Vec<u8>)> {
    let mut words: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
    let mut in_word = false;
    let mut bytes = options.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) {
            in_word = false;
            continue;
        }
        if !in_word {
            words.push((at..at, Vec::new()));
            in_word = true;
        }
        let (at, byte) = match byte {
            b'\\' => bytes.next().map_or((at, None), |(at, byte)| (at, Some(byte))),
            other => (at, Some(other)),
        };
        if let Some((place, word)) = words.last_mut() {
            place.end = at + 1;
            word.extend(byte);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(parameters: &[(&str, &str)]) -> Option<String> {
        let parameters = parameters
            .iter()
            .map(|(n, v)| (n.as_bytes(), v.as_bytes()))
            .collect();
        let message = StartupMessage {
            version: 3 << 16,
            parameters,
        };
        startup_value(&message).map(|value| String::from_utf8(value).expect("UTF-8"))
    }

    #[test]
    fn options_are_read_as_the_server_reads_them() {
        for options in [
            r#"-c bemi.context={"a":1}"#,
            r#"-cbemi.context={"a":1}"#,
            r#"--bemi.context={"a":1}"#,
            r#"-c work_mem=1MB   -c BEMI.context={"a":1} -c search_path=x"#,
            r#"-c bemi.context={} -c bemi.context={"a":1}"#,
        ] {
            assert_eq!(
                value(&[("options", options)]).as_deref(),
                Some(r#"{"a":1}"#),
                "{options}"
            );
        }
        assert_eq!(
            value(&[("options", r#"-c bemi.context={"a":\ "b\\c"}"#)]).as_deref(),
            Some(r#"{"a": "b\c"}"#)
        );
        assert_eq!(value(&[("options", "-c bemi.contextual={}")]), None);
        assert_eq!(value(&[("options", "-c")]), None);
    }

    #[test]
    fn a_parameter_of_its_own_is_stronger_than_options() {
        let parameters = [("bemi.context", "{}"), ("options", r#"-c bemi.context={"a":1}"#)];
        assert_eq!(value(&parameters).as_deref(), Some("{}"));
    }

    fn rest(parameters: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let parameters = parameters.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        let message = StartupMessage {
            version: 3 << 16,
            parameters: parameters.collect(),
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        without_startup_value(&message)
            .iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    #[test]
    fn only_the_context_is_taken_out_of_the_parameters() {
        let user = ("user", "bob");
        let kept = |options: &'static str| rest(&[user, ("BEMI.context", "{}"), ("options", options)]);
        let only_user = vec![("user".to_owned(), "bob".to_owned())];
        for nothing_else in [
            "-c bemi.context={}",
            " --bemi.context={}  -cbemi.context=\\ ",
            "-c bemi.context=",
        ] {
            assert_eq!(kept(nothing_else), only_user, "{nothing_else}");
        }
        for (options, left) in [
            ("", ""),
            (r"-c a=\ b", r"-c a=\ b"),
            (r"-c a=\ b  -c bemi.context={\ } -d 5", r"-c a=\ b   -d 5"),
            ("-c bemi.contextual=1", "-c bemi.contextual=1"),
        ] {
            let expected = ("options".to_owned(), left.to_owned());
            assert_eq!(kept(options).last(), Some(&expected), "{options}");
        }
    }
}
