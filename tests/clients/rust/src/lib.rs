//! Prints what a driver sees, scenario by scenario.

use std::env;

/// What the session starts with, or nothing.
pub fn context() -> Option<String> {
    env::var("BEMI_CONTEXT")
        .ok()
        .filter(|context| !context.is_empty())
}

/// Libpq's options for a session's start.
pub fn options() -> String {
    context()
        .map(|context| format!("-c bemi.context={context}"))
        .unwrap_or_default()
}

pub fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is set"))
}

/// The context of one request.
pub fn context_of(who: i32) -> String {
    format!("{{\"user_id\": {who}}}")
}

/// Prints the driver in the version that was built, and what it lacks.
pub fn introduce(driver: &str, lacks: &[(&str, &str)]) {
    let lock = include_str!("../Cargo.lock");
    let version = lock
        .split_once(&format!("name = \"{driver}\"\nversion = \""))
        .and_then(|(_, rest)| rest.split('"').next())
        .expect("the driver is in the lock file");
    println!("! {driver} {version}");
    for (feature, why) in lacks {
        println!("- {feature}: {why}");
    }
}

pub fn heading(sentence: &str) {
    println!("# {sentence}");
}
