//! The command line: types only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::duration;

/// Exports the status, queue age and error codes of asynchronous AI-generation tasks to Prometheus.
#[derive(Debug, Parser)]
#[command(name = "aitask_exporter", version, args_conflicts_with_subcommands = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or wrong configuration.")]
pub struct Cli {
    /// What to do instead of running the exporter.
    #[command(subcommand)]
    pub command: Option<CliCommand>,
    /// The flags of the exporter.
    #[command(flatten)]
    pub exporter: ExporterFlags,
}

/// What to do instead of running the exporter. Flags stand behind it.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Run a simulated gateway and an exporter of its tasks: no file and no token needed.
    Demo(DemoFlags),
    /// Run the simulated gateway alone.
    Simulate(SimulateFlags),
    /// Poll tasks now; print what was understood, and why.
    Poll(PollFlags),
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Print the completions for a shell.
    Completions {
        /// Whose completions.
        shell: Shell,
    },
    /// Print the manual page.
    Man,
}

/// The flags of the exporter.
#[derive(Args, Debug)]
pub struct ExporterFlags {
    /// The configuration.
    #[arg(long = "config.file", value_name = "FILE", default_value = "aitask.yml")]
    pub config_file: PathBuf,
    /// Check the configuration and end: 0 when it is right, 2 when it is not.
    #[arg(long = "config.check")]
    pub config_check: bool,
    /// Reload when a file of the configuration has changed.
    #[arg(long = "config.enable-auto-reload")]
    pub enable_auto_reload: bool,
    /// How often to look whether a file has changed.
    #[arg(long = "config.auto-reload-interval", value_name = "DURATION", default_value = "30s",
        value_parser = positive_duration)]
    pub auto_reload_interval: Duration,
    /// A directory in which the history of the tasks outlives the process; made if it is not
    /// there. Empty is none: then a restart forgets.
    #[arg(long = "storage.path", value_name = "DIR", default_value = "",
        hide_default_value = true, value_parser = OsStringValueParser::new().map(PathBuf::from))]
    storage_path: PathBuf,
    /// How many failed polls are remembered, of all tasks together, for the pages.
    #[arg(long = "history.limit", value_name = "N", default_value_t = 100)]
    pub history_limit: usize,
    /// The web side.
    #[command(flatten)]
    pub web: WebFlags,
    /// Logging.
    #[command(flatten)]
    pub log: LogFlags,
}

impl ExporterFlags {
    /// Returns the storage path, if there is one.
    pub fn storage_path(&self) -> Option<&Path> {
        named(&self.storage_path)
    }
}

/// Returns the path of a flag, whose default is an empty one.
fn named(path: &Path) -> Option<&Path> {
    (!path.as_os_str().is_empty()).then_some(path)
}

/// The web side.
#[derive(Args, Clone, Debug)]
pub struct WebFlags {
    /// Where to listen; may be repeated. Without a host on every address.
    #[arg(long = "web.listen-address", value_name = "[HOST]:PORT", default_value = ":10054")]
    pub listen_addresses: Vec<ListenAddress>,
    /// Where the metrics are.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics",
        value_parser = telemetry_path)]
    pub telemetry_path: String,
    /// TLS, users and headers of the web side, in the format of Prometheus' exporter-toolkit. Empty
    /// is none.
    #[arg(long = "web.config.file", value_name = "FILE", default_value = "",
        hide_default_value = true, value_parser = OsStringValueParser::new().map(PathBuf::from))]
    web_config_file: PathBuf,
    /// Answer `/-/healthy` and `/-/ready` without a password.
    #[arg(long = "web.unauthenticated-health")]
    pub unauthenticated_health: bool,
    /// Most scrapes that are answered at once; more get 503. 0 is no limit.
    #[arg(long = "web.max-requests", value_name = "N", default_value_t = 40)]
    pub max_requests: usize,
}

impl WebFlags {
    /// The web configuration, if there is one.
    pub fn config_file(&self) -> Option<PathBuf> {
        named(&self.web_config_file).map(Path::to_owned)
    }
}

/// The flags of the demo.
#[derive(Args, Debug)]
pub struct DemoFlags {
    /// The web side.
    #[command(flatten)]
    pub web: WebFlags,
    /// Logging.
    #[command(flatten)]
    pub log: LogFlags,
}

/// The flags of the simulated gateway.
#[derive(Args, Debug)]
pub struct SimulateFlags {
    /// Where to listen; may be repeated. Without a host on every address.
    #[arg(long = "web.listen-address", value_name = "[HOST]:PORT", default_value = ":10055")]
    pub listen_addresses: Vec<ListenAddress>,
    /// Logging.
    #[command(flatten)]
    pub log: LogFlags,
}

/// The flags of `poll`.
#[derive(Args, Debug)]
pub struct PollFlags {
    /// The tasks' IDs; they need not be in the configuration.
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,
    /// Whom to ask; may be left out when there is one provider.
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// A further placeholder of the provider's request, for IDs that are not in the
    /// configuration; may be repeated.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = param)]
    pub params: Vec<(String, String)>,
    /// The configuration.
    #[arg(long = "config.file", value_name = "FILE", default_value = "aitask.yml")]
    pub config_file: PathBuf,
    /// Logging.
    #[command(flatten)]
    pub log: LogFlags,
}

/// Logging.
#[derive(Args, Clone, Copy, Debug)]
pub struct LogFlags {
    /// The least important messages that are logged.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    pub level: LogLevel,
    /// How messages are written, to stderr.
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt")]
    pub format: LogFormat,
}

/// How important a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Every poll that failed and every change of a state.
    Debug,
    /// What happens to the process.
    Info,
    /// What somebody should look at.
    Warn,
    /// What keeps the exporter from its work.
    Error,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// A JSON object a line.
    Json,
}

/// `:10054`, `127.0.0.1:10054`, `[::1]:10054` or `localhost:10054`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// As it was given.
    pub text: String,
    /// What to try, in this order: the first that can be bound is taken.
    pub candidates: Vec<SocketAddr>,
}

impl std::str::FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let candidates = match text.strip_prefix(':') {
            Some(port) => {
                let port: u16 = port.parse().map_err(|_| "the port is not a number to 65535")?;
                // The first takes IPv4 as well, where the host has IPv6 at all.
                let all: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
                all.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
            }
            None => text
                .to_socket_addrs()
                .map_err(|error| format!("{error}; write `:10054` or `127.0.0.1:10054`"))?
                .collect(),
        };
        Ok(Self { text: text.to_owned(), candidates })
    }
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = duration::parse(text)?;
    if duration.is_zero() { Err("must be above zero".to_owned()) } else { Ok(duration) }
}

fn param(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Where something else is.
const TAKEN: [&str; 7] =
    ["/tasks", "/api/v1/tasks", "/probe", "/config", "/-/reload", "/-/healthy", "/-/ready"];

fn telemetry_path(text: &str) -> Result<String, &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    if !text.starts_with('/') || text == "/" || !text.chars().all(plain) {
        return Err("write a path like `/metrics`");
    }
    // The pages of tasks are below theirs.
    if TAKEN.contains(&text) || text.starts_with("/tasks/") {
        return Err("something else is at that path; write one like `/metrics`");
    }
    Ok(text.to_owned())
}
