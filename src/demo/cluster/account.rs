//! The account that a throw-away server runs as when we are root.
//!
//! `/etc/passwd` is read as text: it needs no C library call, and the accounts worth using (`postgres`, `nobody`) are
//! local ones on every system.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::Path;

/// An account of the operating system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its user id.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
}

/// The accounts to use, best first.
const PREFERRED: [&str; 2] = ["postgres", "nobody"];

impl Account {
    /// An account that is not root: `postgres`, else `nobody`, else the first one there is.
    #[must_use]
    pub fn unprivileged() -> Option<Self> {
        choose(&fs::read_to_string("/etc/passwd").unwrap_or_default())
    }

    /// Makes `path` belong to the account.
    ///
    /// # Errors
    /// When we are not root.
    pub fn own(&self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }
}

fn choose(passwd: &str) -> Option<Account> {
    let accounts: Vec<_> = passwd
        .lines()
        .filter_map(parse)
        .filter(|account| account.uid != 0)
        .collect();
    let preferred = PREFERRED
        .iter()
        .find_map(|name| accounts.iter().find(|account| account.name == *name));
    preferred.or(accounts.first()).cloned()
}

/// `name:password:uid:gid:comment:home:shell`, passwd(5).
fn parse(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account { name, uid, gid })
}

#[cfg(test)]
mod tests {
    use super::choose;

    const ROOT: &str = "root:x:0:0:root:/root:/bin/bash\n";
    const DAEMON: &str = "daemon:x:1:1::/:/sbin/nologin\n";
    const NOBODY: &str = "nobody:x:65534:65534::/:/sbin/nologin\n";
    const POSTGRES: &str = "postgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";

    #[test]
    fn postgres_comes_before_nobody_and_nobody_before_the_rest() {
        let uid = |passwd: String| choose(&passwd).map(|account| (account.uid, account.gid));
        assert_eq!(uid([ROOT, DAEMON, NOBODY, POSTGRES].concat()), Some((101, 104)));
        assert_eq!(uid([ROOT, DAEMON, NOBODY].concat()), Some((65534, 65534)));
        assert_eq!(uid([ROOT, DAEMON].concat()), Some((1, 1)));
    }

    #[test]
    fn root_is_never_chosen_whatever_its_name() {
        assert_eq!(choose(ROOT), None);
        assert_eq!(choose("postgres:x:0:0::/:/bin/sh\n"), None);
    }

    #[test]
    fn lines_that_are_no_account_are_passed_over() {
        assert_eq!(
            choose("\n# comment\nnobody:x\nnobody:x:many:1::/:/bin/sh\n"),
            None
        );
    }
}
