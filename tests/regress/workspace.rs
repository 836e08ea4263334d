//! The directory in which a suite runs.
//!
//! The server reads and writes files of the suite, as an account of its own where we are root, and then it cannot get
//! into everybody's directories; so the suite is copied to a place where it can.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bemi::demo::cluster::Account;
use tempfile::TempDir;

use crate::installed;
use crate::suite::Suite;

/// A directory with `input`, `lib` and `output`, removed when dropped.
pub struct Workspace {
    directory: TempDir,
    account: Option<Account>,
}

impl Workspace {
    pub fn create(suite: &Suite) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("bemi-regress-").tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let account = match fs::metadata(directory.path())?.uid() {
            0 => Account::unprivileged(),
            _ => None,
        };
        let workspace = Self { directory, account };
        let source = installed().join("source").join(suite.directory);
        copy(&source, &workspace.input())?;
        copy(&installed().join("lib"), &workspace.lib())?;
        Ok(workspace)
    }

    pub fn input(&self) -> PathBuf {
        self.directory.path().join("input")
    }

    pub fn lib(&self) -> PathBuf {
        self.directory.path().join("lib")
    }

    pub fn output(&self) -> PathBuf {
        self.directory.path().join("output")
    }

    /// Makes the output directory anew.
    pub fn clear_output(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.output()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir(self.output())?,
        }
        match &self.account {
            Some(account) => account.own(&self.output()),
            None => Ok(()),
        }
    }

    /// A program that runs in the output directory, as the account that the server runs as, with an environment that
    /// sways nothing.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .current_dir(self.output());
        if let Some(account) = &self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }
}

/// Copies a directory with all that is in it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
