//! What not every supported server has. What cannot be tested on one is said, not skipped in silence.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use bemi::demo::cluster::Cluster;

/// Whether the server has `what`, which came with version `major`; says so where it does not.
pub fn has(cluster: &Cluster, what: &str, major: u32) -> bool {
    let has = cluster.server_version().major >= major;
    if !has {
        not_tested(&format!("{what}: it came with PostgreSQL {major}"));
    }
    has
}

/// Says once what a test leaves out. Written past the macros, whose output the harness drops where a test passes;
/// `scripts/test-versions.sh` collects these lines.
pub fn not_tested(what: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.insert(what.to_owned()) {
        // Without a standard error there is nobody to tell.
        let _ = writeln!(io::stderr(), "\nNOT TESTED: {what}");
    }
}
