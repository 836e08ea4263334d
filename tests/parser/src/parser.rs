//! libpg_query, called by one thread at a time: it redirects the standard error of the process while it works.

use std::sync::{Mutex, PoisonError};

use pg_query::ParserOptions;
use pg_query::protobuf::{RawStmt, ScanToken};

static TURN: Mutex<()> = Mutex::new(());

/// The statements of a text, or None where the server would not take it.
pub fn parse(text: &str, standard_conforming_strings: bool) -> Option<Vec<RawStmt>> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let options = if standard_conforming_strings {
        ParserOptions::DEFAULT
    } else {
        ParserOptions::DISABLE_STANDARD_CONFORMING_STRINGS | ParserOptions::DISABLE_ESCAPE_STRING_WARNING
    };
    let parsed = pg_query::parse(text, options).ok()?;
    Some(parsed.protobuf.stmts)
}

/// The tokens of a text, comments included, or None where the scanner does not take it.
pub fn scan(text: &str) -> Option<Vec<ScanToken>> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // The scanner has no options of its own: it goes by those of the last parse.
    pg_query::parse("", ParserOptions::DEFAULT).ok()?;
    Some(pg_query::scan(text).ok()?.tokens)
}
