//! Sources that are queries of a database.
//!
//! Each refresh has a connection of its own: one a minute costs little, a kept one would take one of
//! the few that a database has, and a new one follows a changed password or another primary.

mod access;
mod error;
mod mysql;
mod postgres;
pub mod rows;

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::{Instant, timeout_at};

use super::blocking;
use super::list::{Refresh, RefreshError, RefreshReason};
use crate::config::data_source::DatabaseKind;
use crate::config::discovery::SourceConfig;
use crate::config::sql_discovery::SqlSourceConfig;
use crate::config::{LabelLimits, Provider};
use crate::observation::Reason;
use crate::single_flight::{SingleFlight, SingleFlightError};
use access::DatabaseAccess;
use error::describe;
use rows::SqlRows;

/// The name of the exporter at a database.
const APPLICATION: &str = "aitask_exporter";

/// A source that is a query of a database.
#[derive(Debug)]
pub struct SqlSource {
    source: Arc<SourceConfig>,
    sql: Arc<SqlSourceConfig>,
    reading: SingleFlight<Result<Arc<DatabaseAccess>, RefreshError>>,
}

/// A query that is to be answered in time.
#[derive(Clone, Copy, Debug)]
struct DatabaseQuery<'q> {
    text: &'q str,
    deadline: Instant,
}

impl DatabaseQuery<'_> {
    /// Returns the time that is left, in milliseconds; at least 1, since 0 means without a limit.
    fn milliseconds_left(self) -> u128 {
        self.deadline.saturating_duration_since(Instant::now()).as_millis().max(1)
    }
}

impl SqlSource {
    /// Returns a source. Nothing is read before a refresh.
    pub fn new(source: Arc<SourceConfig>, sql: Arc<SqlSourceConfig>) -> Self {
        Self { source, sql, reading: SingleFlight::default() }
    }

    /// Runs the query. All rows count, or none. A refresh that is dropped closes its connection.
    ///
    /// # Errors
    /// Fails when the database does not answer the query in time and completely, or the rows are no
    /// list of tasks.
    pub async fn refresh(
        &self,
        providers: &[Arc<Provider>],
        limits: LabelLimits,
    ) -> Result<Refresh, RefreshError> {
        let deadline = Instant::now() + self.source.timeout;
        let rows = timeout_at(deadline, self.rows(deadline, limits)).await;
        let rows = rows.unwrap_or_else(|_| Err(self.timed_out()))?;
        let (source, providers) = (Arc::clone(&self.source), providers.to_vec());
        let now = SystemTime::now().into();
        let list = blocking::run(move || rows.list(&source, &providers, limits, now)).await?;
        Ok(Refresh::List(list))
    }

    /// Returns all rows of the result.
    async fn rows(&self, deadline: Instant, limits: LabelLimits) -> Result<SqlRows, RefreshError> {
        let sql = Arc::clone(&self.sql);
        let read = self.reading.run(self.source.timeout, move || DatabaseAccess::read(&sql));
        let access = read.await.map_err(|error| match error {
            SingleFlightError::TimedOut(_) => self.timed_out(),
            SingleFlightError::Panicked(_) => {
                RefreshError::new(RefreshReason::Read, error.to_string())
            }
        })??;
        let query = DatabaseQuery { text: &self.sql.query, deadline };
        let mut rows = SqlRows::new(limits);
        let fetched = match access.name.kind {
            DatabaseKind::Postgres => postgres::fetch(&access, query, &mut rows).await,
            DatabaseKind::MySql => mysql::fetch(&access, query, &mut rows).await,
        };
        match fetched {
            Ok(()) => Ok(rows),
            Err(error) => Err(describe(error, &access)),
        }
    }

    fn timed_out(&self) -> RefreshError {
        let message = format!("no complete result within {:?}", self.source.timeout);
        RefreshError::new(Reason::Timeout, message)
    }
}
