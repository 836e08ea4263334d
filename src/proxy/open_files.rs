//! How many connections the operating system lets this process have.
//!
//! Each costs a file descriptor, two once the server is connected to. The soft limit that most systems start a
//! process with, 1024, is there for programs that call `select`; the hard one says what the administrator allows.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that belong to no connection: standard streams, listeners, the runtimes' own, files being read.
const BESIDES_CONNECTIONS: u64 = 100;

/// Raises the soft limit of open files to the hard one, and returns it; `u64::MAX` where there is none.
///
/// # Errors
/// When the system refuses; the limit is what it was then.
pub fn raise_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        setrlimit(Resource::Nofile, raised)?;
    }
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Descriptors that so many sessions need.
pub fn needed_for(sessions: usize) -> u64 {
    u64::try_from(sessions)
        .unwrap_or(u64::MAX)
        .saturating_mul(2)
        .saturating_add(BESIDES_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let limit = raise_limit().unwrap();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert_eq!(now.current.unwrap_or(u64::MAX), limit);
    }
}
