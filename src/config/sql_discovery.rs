//! Sources that are queries of a database.

use std::path::Path;

use super::discovery::SourceValidator;
use super::raw;
use super::secret::{Purpose, Secret};
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::span::Location;

/// The settings of a query of a database.
#[derive(Debug)]
pub struct SqlSourceConfig {
    /// The data source name.
    pub data_source: Secret,
    /// The directory to which files that the data source name names are relative.
    pub dir: Box<Path>,
    /// The query: one statement that returns rows.
    pub query: Box<str>,
}

impl SourceValidator<'_> {
    /// Validates the keys of a query beside those that all sources have.
    pub(super) fn sql(
        &self,
        location: Location,
        raw: &raw::RawSqlSource,
    ) -> Option<SqlSourceConfig> {
        if !cfg!(feature = "sql") {
            let message = "this build of the exporter cannot query databases";
            let hint = "use a build with the cargo feature `sql`, which is on by default";
            self.validator.report(Diagnostic::new(location, message).hint(hint));
            return None;
        }
        let (inline, file) = (&raw.data_source_name, &raw.data_source_name_file);
        if inline.is_absent() && file.is_absent() {
            let diagnostic = Diagnostic::new(location, "missing key: data_source_name");
            self.validator
                .report(diagnostic.hint("write data_source_name_file or data_source_name"));
        }
        if raw.query.is_absent() {
            self.validator.report(Diagnostic::new(location, "missing key: query"));
        }
        let data_source = self.validator.secret(inline, file, &Purpose::DataSourceName);
        let (location, query) = raw.query.located()?;
        let wrong = match () {
            () if query.trim().is_empty() => Some("must not be empty"),
            () if query.contains('\0') => Some("must not contain a zero byte"),
            () => None,
        };
        if let Some(wrong) = wrong {
            self.validator.report(Diagnostic::new(location, wrong));
            return None;
        }
        let dir = self.validator.dir.into();
        Some(SqlSourceConfig { data_source: data_source?, dir, query: query.as_str().into() })
    }
}

#[cfg(all(test, not(feature = "sql")))]
mod tests {
    use std::path::Path;

    use crate::config::load_text;

    #[test]
    fn a_build_without_the_feature_refuses_queries() {
        let text = "providers: [{ name: p, preset: mjdjourney }]\n\
                    sql_sd_configs: [{ name: s, data_source_name: 'postgres://a@b/c', query: TABLE t }]";
        let error = load_text("c.yml", text, Path::new(".")).unwrap_err().to_string();
        assert!(error.starts_with("c.yml:2:18: this build of the exporter cannot"), "{error}");
        assert!(error.contains("the cargo feature `sql`"), "{error}");
        let text = "providers: [{ name: p, preset: mjdjourney }]\nsql_sd_configs: []";
        assert!(load_text("c.yml", text, Path::new(".")).is_ok());
    }
}
