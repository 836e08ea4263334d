//! The `keyword = value` form (`host=localhost port=5432`), read as `conninfo_parse` in libpq's `fe-connect.c` does.

use super::error::UrlError;

/// Splits the string into keys and values: values may stand in single quotes, a backslash takes the next character as
/// it is, spaces around `=` are allowed.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, UrlError> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    if rest.is_empty() {
        return Err(UrlError::Empty);
    }
    while !rest.is_empty() {
        let (key, after_key) = key(rest)?;
        let (value, after_value) = value(key, after_key.trim_start())?;
        pairs.push((key.to_owned(), value));
        rest = after_value.trim_start();
    }
    Ok(pairs)
}

fn key(text: &str) -> Result<(&str, &str), UrlError> {
    let end = text
        .find(|c: char| c == '=' || c.is_ascii_whitespace())
        .unwrap_or(text.len());
    let (key, rest) = text.split_at(end);
    let plausible = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    match rest.trim_start().strip_prefix('=') {
        Some(value) if plausible => Ok((key, value)),
        None if plausible => Err(UrlError::MissingValue { key: key.to_owned() }),
        _ => Err(UrlError::NoUrl),
    }
}

fn value<'a>(key: &str, text: &'a str) -> Result<(String, &'a str), UrlError> {
    let (quoted, body) = match text.strip_prefix('\'') {
        Some(body) => (true, body),
        None => (false, text),
    };
    let mut value = String::new();
    let mut characters = body.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Ok((value, body.get(index + 1..).unwrap_or_default())),
            c if !quoted && c.is_ascii_whitespace() => {
                return Ok((value, body.get(index..).unwrap_or_default()));
            }
            c => value.push(c),
        }
    }
    if quoted {
        Err(UrlError::UnterminatedQuote { key: key.to_owned() })
    } else {
        Ok((value, ""))
    }
}
