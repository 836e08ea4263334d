//! What follows from the server's tokens alone.

use bemi::sql::Analysis;
use pg_query::protobuf::{ScanToken, Token};
use serde_json::{Map, Value as Json};

use crate::parser;

pub fn is_comment(token: &ScanToken) -> bool {
    token.token == Token::SqlComment as i32 || token.token == Token::CComment as i32
}

fn is_one_of(token: &ScanToken, kinds: &[Token]) -> bool {
    kinds.iter().any(|kind| token.token == *kind as i32)
}

fn text_of<'a>(text: &'a str, token: &ScanToken) -> &'a str {
    text.get(token.start as usize..token.end as usize)
        .unwrap_or_default()
}

/// The text with `$n` for each literal and without comments, as [`bemi::sql::normalize`] should make it.
pub fn normal(text: &str, tokens: &[ScanToken]) -> String {
    let number = |token: &ScanToken| text_of(text, token).get(1..)?.parse().ok();
    let params = tokens.iter().filter(|token| is_one_of(token, &[Token::Param]));
    let mut count: u32 = params.filter_map(number).max().unwrap_or(0);
    let mut normal = String::new();
    let mut copied = 0;
    let mut has_more = false;
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        index += 1;
        if is_comment(token) {
            has_more = true;
            continue;
        }
        if !normal.is_empty() {
            let gap = text.get(copied..token.start as usize).unwrap_or_default();
            normal += if has_more { " " } else { gap };
        }
        has_more = false;
        copied = token.end as usize;
        let literals = [
            Token::Sconst,
            Token::Usconst,
            Token::Bconst,
            Token::Xconst,
            Token::Iconst,
            Token::Fconst,
        ];
        if is_one_of(token, &literals) {
            count = count.saturating_add(1);
            normal += &format!("${count}");
        } else {
            normal += text_of(text, token);
        }
        if is_one_of(token, &[Token::Usconst]) {
            has_more = skip_uescape(tokens, &mut index);
        }
    }
    normal
}

/// Moves past `UESCAPE '!'`, comments in it included; whether it was there.
fn skip_uescape(tokens: &[ScanToken], index: &mut usize) -> bool {
    let mut behind = *index;
    for wanted in [Token::Uescape, Token::Sconst] {
        while tokens.get(behind).is_some_and(is_comment) {
            behind += 1;
        }
        if !tokens
            .get(behind)
            .is_some_and(|token| is_one_of(token, &[wanted]))
        {
            return false;
        }
        behind += 1;
    }
    *index = behind;
    true
}

/// A comment with context, which no text holds by chance.
pub fn marker(number: usize) -> String {
    format!("/*Bemi {{\"marker {number}\": {number}}} Bemi*/")
}

/// Each marker that is a comment of its own is the context of the statement that it stands in, and no other is.
pub fn check_markers(
    text: &str,
    tokens: &[ScanToken],
    analysis: &Analysis,
    markers: usize,
) -> Result<(), String> {
    let mut expected: Vec<Map<String, Json>> = vec![Map::new(); analysis.statements.len()];
    for (number, comment) in (0..markers).map(|number| (number, marker(number))) {
        for token in tokens.iter().filter(|token| text_of(text, token) == comment) {
            let at = token.start as usize;
            // What follows the last statement belongs to it; what stands alone between two `;` to none.
            let place = analysis
                .statements
                .iter()
                .position(|statement| statement.range.contains(&at));
            let last = analysis.statements.len().checked_sub(1);
            let is_behind = |last: &usize| analysis.statements[*last].range.end <= at;
            let place = place.or(last.filter(is_behind));
            if let Some(context) = place.and_then(|place| expected.get_mut(place)) {
                context.insert(format!("marker {number}"), number.into());
            }
        }
    }
    for (statement, expected) in analysis.statements.iter().zip(expected) {
        let found = statement.context.clone().unwrap_or_default();
        let found: Map<_, _> = found
            .into_iter()
            .filter(|(key, _)| key.starts_with("marker "))
            .collect();
        if found != expected {
            return Err(format!("context {found:?} instead of {expected:?}"));
        }
    }
    Ok(())
}

/// Holds the normal form against the scanner's.
pub fn check_normal(text: &str, tokens: &[ScanToken]) -> Result<(), String> {
    let ours = bemi::sql::normalize(text.as_bytes(), bemi::sql::Dialect::default());
    let expected = normal(text, tokens);
    if ours == expected.as_bytes() {
        Ok(())
    } else {
        Err(format!(
            "normalised to {:?} instead of {expected:?}",
            ours.escape_ascii().to_string()
        ))
    }
}

/// Where the first token in a range starts that is no comment.
pub fn first_token(tokens: &[ScanToken], from: usize, to: usize) -> Option<usize> {
    let inside = |token: &&ScanToken| (from..to).contains(&(token.start as usize));
    tokens
        .iter()
        .filter(inside)
        .find(|token| !is_comment(token))
        .map(|token| token.start as usize)
}

pub fn tokens(text: &str) -> Option<Vec<ScanToken>> {
    parser::scan(text)
}
