//! Reads the users file of mode `scram`.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::auth::{MockNonce, Users, UsersError};

/// Bits of a file's mode that let anybody but its owner's group read it.
const READABLE_BY_OTHERS: u32 = 0o004;

/// Why there are no users.
#[derive(Debug, thiserror::Error)]
pub enum UsersFileError {
    /// Not there, not readable.
    #[error("cannot read the users file {}: {source}", path.display())]
    Unreadable {
        /// As configured.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A line that is no entry.
    #[error("{}: {source}", path.display())]
    Malformed {
        /// As configured.
        path: PathBuf,
        /// Which line, and what is wrong.
        source: UsersError,
    },
}

/// What was read, and what the operator should hear about it.
#[derive(Debug)]
pub struct UsersFile {
    /// Who may log in.
    pub users: Users,
    /// Whole sentences for the log, without secrets.
    pub warnings: Vec<String>,
}

/// Reads `path`. Blocks: for the start and for reloads, not for a connection. `nonce` should stay the same as
/// long as the process lives.
///
/// # Errors
/// [`UsersFileError`]; on a reload the old users should stay then.
pub fn read(path: &Path, nonce: MockNonce) -> Result<UsersFile, UsersFileError> {
    let unreadable = |source| UsersFileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(unreadable)?;
    let users = Users::parse(&text, nonce).map_err(|source| UsersFileError::Malformed {
        path: path.to_owned(),
        source,
    })?;
    let shown = path.display();
    let mut warnings = Vec::new();
    if mode & READABLE_BY_OTHERS != 0 {
        warnings.push(format!(
            "the users file {shown} can be read by every user of this machine: chmod o-r {shown}"
        ));
    }
    warnings.extend(
        users
            .warnings()
            .iter()
            .map(|warning| format!("{shown}, {warning}; this user cannot log in")),
    );
    Ok(UsersFile { users, warnings })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::read;
    use crate::auth::MockNonce;

    #[test]
    fn a_file_that_everybody_can_read_is_read_with_a_warning() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"\"alice\" \"pencil\"\n").unwrap();
        for (mode, warnings) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
            file.as_file()
                .set_permissions(Permissions::from_mode(mode))
                .unwrap();
            let read = read(file.path(), MockNonce::new([0; 32])).unwrap();
            assert_eq!((read.users.len(), read.warnings.len()), (1, warnings), "{mode:o}");
        }
    }

    #[test]
    fn errors_name_the_file() {
        let error = read(Path::new("/nowhere/users.txt"), MockNonce::new([0; 32])).unwrap_err();
        assert!(error.to_string().contains("/nowhere/users.txt"), "{error}");
    }
}
