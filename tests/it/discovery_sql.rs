//! Sources that are queries, against Debian's PostgreSQL, PgBouncer and MariaDB.

mod life;
mod mariadb;
mod pgbouncer;
mod postgres;
mod tls;

use std::sync::Arc;

use aitask_exporter::config::discovery::{SourceConfig, SourceKind};
use aitask_exporter::config::{Config, load_text};
use aitask_exporter::discovery::list::{ListedTask, Refresh, RefreshError, SourceList};
use aitask_exporter::discovery::sql::SqlSource;

use crate::harness::Dir;

/// A source with what its refreshes need.
struct Source {
    config: Config,
    sql: SqlSource,
    runtime: tokio::runtime::Runtime,
}

impl Source {
    /// Returns a source with a query, and with further keys in YAML's flow style. The file `dsn` in
    /// `dir` has the data source name.
    fn new(dir: &Dir, query: &str, more: &str) -> Self {
        let query = serde_json::Value::from(query);
        let text = format!(
            "providers: [{{ name: mj, preset: mjdjourney }}, {{ name: kling, preset: kling }}]\n\
             sql_sd_configs: [{{ name: jobs, data_source_name_file: dsn, provider: mj, \
             query: {query}, {more} }}]\n"
        );
        let config = load_text("aitask.yml", &text, &dir.path("")).unwrap().config;
        let found: &Arc<SourceConfig> = &config.discovery[0];
        let SourceKind::Sql(sql) = &found.kind else { panic!("{found:?}") };
        let sql = SqlSource::new(Arc::clone(found), Arc::clone(sql));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self { config, sql, runtime }
    }

    fn refresh(&self) -> Result<SourceList, RefreshError> {
        let refresh = self.sql.refresh(&self.config.providers, self.config.label_limits);
        match self.runtime.block_on(refresh)? {
            Refresh::List(list) => Ok(list),
            other => panic!("{other:?}"),
        }
    }

    /// Refreshes; returns the tasks in words, or the error.
    fn tasks(&self) -> Result<Vec<String>, String> {
        let list = self.refresh().map_err(|error| error.to_string())?;
        Ok(list.tasks.iter().map(described).collect())
    }

    /// Refreshes; returns the error.
    fn error(&self) -> String {
        self.tasks().unwrap_err()
    }
}

/// Returns a task as `provider/id label=value param:value @microseconds`.
fn described(listed: &ListedTask) -> String {
    let common = &listed.task.common;
    let mut words = vec![format!("{}/{}", common.provider, listed.task.id)];
    words.extend(common.labels.iter().map(|(name, value)| format!("{name}={value}")));
    words.extend(common.params.iter().map(|(name, value)| format!("{name}:{value}")));
    words.extend(listed.enqueue_time.map(|time| format!("@{}", time.micros())));
    words.join(" ")
}

/// Returns the rejected elements of a list, each with its reason and message.
fn rejected(list: &SourceList) -> Vec<String> {
    let rejected = list.rejected.first().iter();
    rejected.map(|it| format!("{}: {}: {}", it.element, it.reason, it.message)).collect()
}
