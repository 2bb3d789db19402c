//! The bytes are a data source name: it is taken apart or refused, and no text shows any of it.

use std::sync::LazyLock;

use aitask_exporter::config::data_source::{DataSourceName, DatabaseAddress};
use aitask_exporter::config::load_text;
use secrecy::ExposeSecret;

use crate::harness::root;

/// Length of the shortest text that is looked for, in bytes: shorter ones occur in ordinary words.
const MIN_LENGTH: usize = 8;
/// Data source names with every kind of error, and one without.
const PLAIN: [&str; 12] = [
    "postgres://u@h/d",
    "mysql://u@h/d",
    "x",
    "postgres://h/d",
    "postgres://u:/@h/d",
    "postgres://u@h/d?x=y",
    "mysql://u@h/d?x=y",
    "postgres://u@h/d?sslmode=x",
    "mysql://u@h/d?ssl-mode=x",
    "postgres://u@h/d?sslkey=x",
    "postgres://u@a,b/d",
    "${u}",
];

/// The texts that the names of [`PLAIN`] lead to.
static EXPECTED: LazyLock<String> =
    LazyLock::new(|| PLAIN.into_iter().map(said).collect::<Vec<_>>().join("\n"));

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let parsed = DataSourceName::parse(&text);
    let said = format!("{}\n{parsed:?}", said(&text));
    let mut secrets = vec![text.trim().to_owned()];
    if let Ok(name) = &parsed {
        assert!(!name.user.is_empty());
        if let DatabaseAddress::Tcp(host, port) = &name.address {
            assert!(!host.is_empty() && *port > 0);
        }
        secrets.extend(name.password.as_ref().map(|it| it.expose_secret().to_owned()));
    }
    for secret in secrets.iter().filter(|secret| secret.len() >= MIN_LENGTH) {
        assert!(!said.contains(&**secret) || EXPECTED.contains(&**secret), "{text:?}: {said}");
    }
}

/// Returns everything that is said about a configuration with a data source name.
fn said(name: &str) -> String {
    let quoted = serde_json::Value::from(name);
    let config = format!(
        "providers: [{{ name: a, preset: mjdjourney }}]\n\
         sql_sd_configs: [{{ name: s, data_source_name: {quoted}, query: TABLE t }}]\n"
    );
    match load_text("fuzz.yml", &config, &root("")) {
        Ok(loaded) => format!("{}\n{:?}", loaded.config.shown, loaded.config.discovery),
        Err(diagnostics) => diagnostics.to_string(),
    }
}
