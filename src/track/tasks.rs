//! What `bemi track` does besides tracking: `--print-setup` and `--teardown`.

use std::path::Path;

use super::destination::Destination;
use super::endpoints::Endpoints;
use super::error::TrackError;
use super::rights;
use super::rules::Rules;
use super::setup::{self, SourceFacts};
use super::source;
use crate::config::Config;

async fn facts(config: &Config, endpoints: &Endpoints) -> Result<SourceFacts, TrackError> {
    let client = endpoints.source(config).await?;
    Ok(source::ask(&client, &config.track.publication, &config.track.slot).await?)
}

/// All statements that set source and destination up, in the order in which they have to be run.
///
/// # Errors
/// When the source cannot be asked.
pub async fn setup_script(config: &Config, home: Option<&Path>) -> Result<String, TrackError> {
    let endpoints = Endpoints::new(config, home)?;
    let facts = facts(config, &endpoints).await?;
    let track = &config.track;
    let is_same = track.destination.hosts.is_empty();
    let own_schema = is_same.then_some(track.schema.as_str());
    let setup = setup::plan(&facts, track, &Rules::from(track), own_schema);
    let mut script = format!("-- On the source: {}\n", config.upstream.url);
    for finding in setup.unmet().chain(setup.notes()) {
        for line in finding.to_string().lines() {
            script.push_str(&format!("--   {line}\n"));
        }
    }
    for statement in &setup.statements {
        script.push_str(&format!("{statement}\n"));
    }
    if facts.slot.is_none() {
        script.push_str(&setup::create_slot(facts.server.version_num, &track.slot));
        script.push('\n');
    }
    let destination = if is_same {
        &config.upstream.url
    } else {
        &track.destination
    };
    script.push_str(&format!("\n-- On the destination: {destination}\n"));
    script.push_str(&Destination::script(track));
    if let Some(user) = &destination.user {
        for statement in rights::grants(track, user) {
            script.push_str(&format!("{statement}\n"));
        }
    }
    Ok(script)
}

/// What takes slot and publication away.
///
/// # Errors
/// When the source cannot be asked.
pub async fn teardown_statements(config: &Config, home: Option<&Path>) -> Result<Vec<String>, TrackError> {
    let endpoints = Endpoints::new(config, home)?;
    Ok(setup::teardown(&facts(config, &endpoints).await?, &config.track))
}

/// Runs statements on the source.
///
/// # Errors
/// When one of them is refused.
pub async fn run_statements(
    config: &Config,
    home: Option<&Path>,
    statements: &[String],
) -> Result<(), TrackError> {
    let client = Endpoints::new(config, home)?.source(config).await?;
    for statement in statements {
        client
            .batch_execute(statement)
            .await
            .map_err(|error| TrackError::from_client("source", error.into()))?;
    }
    Ok(())
}
