//! `bemi track` as a process: what its signals mean, and what it asks.
//!
//! SIGTERM and SIGINT: what has been read is stored, then it ends; either one again ends it at once. Killing it is safe, too.

use std::io::{self, BufRead, IsTerminal, Write};

use bemi::config::Config;
use bemi::track::error::TrackError;
use bemi::track::{run, tasks};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Exit code of a process that a second signal ends: as a shell reports SIGINT.
const INTERRUPTED: i32 = 130;

/// Tracks until a signal ends it.
///
/// # Errors
/// [`TrackError`]
pub async fn follow(config: Config, accept_gap: bool) -> Result<(), TrackError> {
    let (stop, stopped) = watch::channel(false);
    let system = |error: io::Error| TrackError::System(format!("cannot listen for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    tokio::spawn(async move {
        for is_second in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if is_second {
                std::process::exit(INTERRUPTED);
            }
            tracing::info!("stopping: what has been read is stored first");
            stop.send_replace(true);
        }
    });
    let options = run::Options { accept_gap };
    run::run(config, std::env::home_dir().as_deref(), options, stopped).await
}

/// Prints what a DBA has to run.
///
/// # Errors
/// [`TrackError`] when the source cannot be asked.
pub async fn print_setup(config: &Config) -> Result<(), TrackError> {
    let script = tasks::setup_script(config, std::env::home_dir().as_deref()).await?;
    print!("{script}");
    Ok(())
}

/// Removes slot and publication.
///
/// # Errors
/// [`TrackError`]
pub async fn teardown(config: &Config, is_sure: bool) -> Result<(), TrackError> {
    let home = std::env::home_dir();
    let statements = tasks::teardown_statements(config, home.as_deref()).await?;
    if statements.is_empty() {
        println!("Nothing to remove: there is neither slot nor publication.");
        return Ok(());
    }
    println!(
        "To be run on {}:\n\n  {}\n",
        config.upstream.url,
        statements.join("\n  ")
    );
    println!("What is in the log and not stored yet will not be. The table changes stays as it is.");
    if !is_sure && !confirmed() {
        return Err(TrackError::System("nothing was removed".into()));
    }
    tasks::run_statements(config, home.as_deref(), &statements).await?;
    println!("Removed.");
    Ok(())
}

/// Whether a person at a terminal says yes.
fn confirmed() -> bool {
    if !io::stdin().is_terminal() {
        println!("There is nobody to ask: add --yes to remove them.");
        return false;
    }
    print!("Remove them? [y/N] ");
    _ = io::stdout().flush();
    let mut answer = String::new();
    let has_answer = io::stdin().lock().read_line(&mut answer).is_ok();
    has_answer && matches!(answer.trim(), "y" | "Y" | "yes")
}
