//! New tables, where the publication lists its tables.

use tokio_postgres::Client;

use super::Shared;
use crate::client;
use crate::replication::Lsn;
use crate::track::destination::Destination;
use crate::track::error::TrackError;
use crate::track::setup::{TopTable, add_tables, wanted_tables};
use crate::track::source;

/// How long adding a table to the publication may wait for those who work on the table; it is tried again. Meanwhile
/// nothing is read.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '2s'";

/// Why a table has a gap.
pub(super) const ADDED_LATER: &str = "the table was made after the publication, which lists its tables, and added to it then; what \
     changed in it before is not recorded";

/// Adds new tables to a publication that lists its tables.
pub(super) struct Tables<'a> {
    pub(super) client: Client,
    /// For what is written down about them: the store's session is in the middle of something.
    pub(super) destination: Destination,
    pub(super) shared: &'a Shared,
    pub(super) own_schema: Option<String>,
    pub(super) is_needed: bool,
}

impl Tables<'_> {
    pub(super) async fn look(&self, stored: Lsn) -> Result<(), TrackError> {
        let track = &self.shared.config.track;
        let published = source::published(&self.client, &track.publication).await?;
        let tables = source::top_tables(&self.client).await?;
        let wanted = wanted_tables(&tables, &self.shared.rules, self.own_schema.as_deref());
        let new: Vec<&TopTable> = wanted
            .into_iter()
            .filter(|table| table.has_identity && table.is_ours && !published.contains(&table.quoted))
            .collect();
        let Some(statement) = add_tables(track, &new) else {
            return Ok(());
        };
        let gaps = self.destination.begin_gaps(&new, stored, ADDED_LATER).await?;
        let statement = format!("{LOCK_TIMEOUT}; {statement}");
        if let Err(error) = self.client.batch_execute(&statement).await {
            // Where there was no answer, they may well have been added.
            if error.as_db_error().is_some() {
                self.destination.end_gaps(&gaps, None).await?;
            }
            // It may have been dropped, or given away, since it was looked at.
            tracing::warn!(
                reason = client::reason(&error),
                "cannot add new tables to the publication"
            );
            return Ok(());
        }
        let until = source::log_end(&self.client).await?;
        for table in new {
            tracing::info!(table = table.quoted, "new, and followed from now on");
        }
        Ok(self.destination.end_gaps(&gaps, Some(until)).await?)
    }
}
