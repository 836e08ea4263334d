//! What is fuzzed: one function per parser, each of which panics when a rule is broken.
//!
//! libFuzzer calls them from `fuzz_targets/`, guided by coverage and for as long as one likes; `tests/fuzz_smoke.rs`
//! includes this very file and calls them with seeded random inputs for a few seconds, as part of `make test`.
//!
//! A target that only looks for panics finds little in code without `unsafe`. So each also states what must hold
//! for any input: what is written reads back, what is cut differently comes out the same, what nobody asked to be
//! changed is not changed.

mod input;
mod model;
mod session;
mod streams;
mod text;
mod track;
mod transparent;
mod wire;

/// A fuzz target.
pub struct Target {
    /// Its name, which is that of its file in `fuzz_targets/`.
    pub name: &'static str,
    /// Runs it; panics when a rule is broken.
    pub run: fn(&[u8]),
    /// Inputs that reach beyond the first check, for a fuzzer that has nothing to learn from.
    pub seeds: &'static [&'static [u8]],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    wire::FRAMES,
    wire::STARTUP,
    wire::RESPONSES,
    text::SQL,
    text::COMMENTS,
    text::NORMALIZE,
    text::CONTEXT,
    text::ENCODING,
    text::UPSTREAM_URL,
    streams::PGOUTPUT,
    streams::LOGIN,
    track::VALUES,
    track::ABRIDGE,
    session::SESSION,
    transparent::TRANSPARENT,
];

/// Runs the target of this name.
///
/// # Panics
/// When there is none, or when the target finds something.
pub fn run(name: &str, data: &[u8]) {
    match TARGETS.iter().find(|target| target.name == name) {
        Some(target) => (target.run)(data),
        None => panic!("no fuzz target is called {name}"),
    }
}
