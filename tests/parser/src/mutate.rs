//! Random changes of texts: what no one thought of writing.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::scanner::marker;

/// Words, marks and halves of marks that decide where something ends or what it is.
const PIECES: &[&str] = &[
    ";",
    ";;",
    "(",
    ")",
    "'",
    "''",
    "\"",
    "$$",
    "$a$",
    "$1",
    "\\",
    "\n",
    "\r",
    " ",
    "\t",
    "--",
    "-- x\n",
    "/*",
    "*/",
    "/* ; */",
    "/*Bemi {\"a\": 1} Bemi*/",
    "'a;b'",
    "E'\\';'",
    "U&'\\003b'",
    "U&\"a;\"",
    " uescape '!'",
    "$$;$$",
    "b'1'",
    "x'1f'",
    "n'a'",
    "1",
    "1.5",
    ".5",
    "1e3",
    "0x1F",
    "1_000",
    "::",
    ":=",
    "=>",
    "..",
    ",",
    ".",
    "+",
    "-",
    "*",
    "/",
    "@",
    "=",
    "<>",
    "[1]",
    "é",
    "null",
    "true",
    "begin",
    "atomic",
    "end",
    "case",
    "case when a then b end",
    "select",
    "select 1",
    "insert into t",
    "insert into t values (1)",
    "update t set a = 1",
    "delete from t",
    "merge",
    "into",
    "into x",
    "from",
    "from t",
    "with a as (delete from t returning *)",
    "with",
    "recursive",
    "as",
    "not",
    "materialized",
    "(select 1)",
    "values (1)",
    "table t",
    "union",
    "union select 2",
    "explain",
    "explain analyze",
    "analyze",
    "explain (analyze off)",
    "explain (analyze, verbose off)",
    "copy t from stdin",
    "copy",
    "truncate",
    "create",
    "create table x as",
    "create function f() returns int begin atomic select 1; end",
    "or",
    "replace",
    "temp",
    "unlogged",
    "function",
    "procedure",
    "commit",
    "rollback",
    "and chain",
    "and no chain",
    "savepoint",
    "release",
    "to",
    "prepare",
    "prepare p as",
    "execute p",
    "deallocate",
    "all",
    "set",
    "local",
    "session",
    "set local bemi.context = '{}'",
    "bemi.context",
    "default",
    "from current",
    "reset",
    "discard",
    "set_config('bemi.context', '{}', false)",
    "set_config('bemi.context', $1, true)",
    "only",
    "returning *",
    "for update",
    "order by 1",
    "limit 1",
    "as end",
    "as begin",
    "as into",
    ".into",
    "call f()",
    "do $$begin end$$",
    "cursor for",
    "declare c",
    "on conflict do nothing",
    "search depth first by a set b",
    "cycle a set b using c",
    "pg_prepared_statements",
    "names",
    "client_encoding",
];

/// Some statements of the corpus in one text, changed a few times, with markers put into it at random places.
pub struct Mutant {
    pub text: String,
    pub markers: usize,
}

/// Makes the mutant of this seed.
pub fn mutant(seed: u64, corpus: &[String]) -> Mutant {
    let mut random = StdRng::seed_from_u64(seed);
    let mut text = String::new();
    for _ in 0..random.random_range(1..4) {
        text += pick(&mut random, corpus);
        text += ["", ";", ";", "; ", ";\n"][random.random_range(0..5)];
    }
    for _ in 0..random.random_range(0..4) {
        change(&mut random, &mut text, corpus);
    }
    let markers = random.random_range(0..3);
    for number in 0..markers {
        let at = boundary(&mut random, &text);
        text.insert_str(at, &marker(number));
    }
    Mutant { text, markers }
}

fn pick<'a>(random: &mut StdRng, among: &'a [String]) -> &'a str {
    &among[random.random_range(0..among.len())]
}

/// Somewhere in the text, mostly where a word starts.
fn boundary(random: &mut StdRng, text: &str) -> usize {
    let mut at = random.random_range(0..=text.len());
    if random.random_bool(0.8) {
        at = text[..floor(text, at)]
            .rfind([' ', '\n', '(', ';', ','])
            .map_or(0, |space| space + 1);
    }
    floor(text, at)
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn change(random: &mut StdRng, text: &mut String, corpus: &[String]) {
    let from = boundary(random, text);
    let word = text[from..]
        .find([' ', '\n', '(', ')', ';', ','])
        .map_or(text.len(), |len| from + len);
    let next = floor(text, (from + 1).min(text.len())).max(from);
    let piece = PIECES[random.random_range(0..PIECES.len())];
    match random.random_range(0..8) {
        0 => text.replace_range(from..word, ""),
        1 => text.replace_range(from..word, piece),
        2 => text.replace_range(from..next, ""),
        3 => {
            let copied = text[from..word].to_owned();
            let to = boundary(random, text);
            text.insert_str(to, &format!(" {copied} "));
        }
        4 => text.insert_str(from, &format!("({}) ", pick(random, corpus))),
        5 => text.insert_str(from, piece),
        _ => text.insert_str(from, &format!(" {piece} ")),
    }
}
