//! The process that cleans up after a throw-away server, whatever becomes of us.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::Account;

/// Waits until standard input ends, then stops the server in `$1/data` and removes `$1`.
///
/// `SIGQUIT` is PostgreSQL's immediate shutdown (manual, "Shutting Down the Server"); the server removes
/// `postmaster.pid` and its shared memory as it leaves. One that does not leave within ten seconds is killed.
/// The file is waited for rather than the process: where nobody reaps orphans, a zombie looks alive to `kill -0`.
/// The gentler signals are ignored, so that ending a whole group of processes leaves the guard to its work.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
dir=$1
pid_file=$dir/data/postmaster.pid
cat >/dev/null
if [ -f "$pid_file" ]; then
    pid=$(head -n 1 "$pid_file")
    left=200
    if kill -QUIT "$pid"; then
        while [ -f "$pid_file" ] && [ "$left" -gt 0 ]; do
            sleep 0.05 || sleep 1
            left=$((left - 1))
        done
        [ -f "$pid_file" ] && kill -KILL "$pid"
    fi
fi
left=50
until rm -rf "$dir" || [ "$left" -eq 0 ]; do
    sleep 0.1 || sleep 1
    left=$((left - 1))
done
"#;

/// Holds the pipe whose end sets the guard to work.
#[derive(Debug)]
pub(super) struct Guard {
    shell: Child,
}

impl Guard {
    /// Starts the guard of `dir`.
    pub(super) fn watch(dir: &Path, account: Option<&Account>) -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SCRIPT, "bemi-guard"])
            .arg(dir)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        if let Some(account) = account {
            command.uid(account.uid).gid(account.gid);
        }
        Ok(Self {
            shell: command.spawn()?,
        })
    }

    /// Lets the guard do its work, and waits until it has.
    pub(super) fn release(&mut self) {
        drop(self.shell.stdin.take());
        // Waiting twice is harmless: the exit code is kept.
        let _ = self.shell.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.release();
    }
}
