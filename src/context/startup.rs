//! The context that a startup packet sets: `bemi.context`, or `options=-c bemi.context=...`.

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

/// Reads `-c name=value`, `-cname=value` and `--name=value`, the last one counts (`process_postgres_switches`).
fn from_options(options: &[u8]) -> Option<Vec<u8>> {
    let mut found = None;
    let mut words = split(options).into_iter();
    while let Some(word) = words.next() {
        let assignment = match word.as_slice() {
            b"-c" => words.next().unwrap_or_default(),
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
            found = Some(assignment[equals + 1..].to_vec());
        }
    }
    found
}

/// Splits at white space; a backslash takes the next byte literally (`pg_split_opts` in `postinit.c`).
fn split(options: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = options.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => words.extend(word.take()),
            b'\\' => word.get_or_insert_default().extend(bytes.next()),
            other => word.get_or_insert_default().push(*other),
        }
    }
    words.extend(word);
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
}
