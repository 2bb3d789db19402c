//! The types of the command line.

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
#[command(after_help = "Exit codes: 0 success, 1 failure, 2 wrong usage or invalid configuration.")]
pub struct Cli {
    /// Command to run instead of the exporter.
    #[command(subcommand)]
    pub command: Option<CliCommand>,
    /// Flags of the exporter.
    #[command(flatten)]
    pub exporter: ExporterFlags,
}

/// The commands that run instead of the exporter. Their flags follow them.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Run a simulated gateway and an exporter for its tasks; needs no file and no token.
    Demo(DemoFlags),
    /// Run the simulated gateway alone.
    Simulate(SimulateFlags),
    /// Poll tasks now and print the request, the answer and the result of the mapping.
    Poll(PollFlags),
    /// Ask the sources of tasks now and print the tasks that would be followed.
    Discover(DiscoverFlags),
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Print the completions for a shell.
    Completions {
        /// Shell to print the completions for.
        shell: Shell,
    },
    /// Print the manual page.
    Man,
}

/// The flags of the exporter.
#[derive(Args, Debug)]
pub struct ExporterFlags {
    /// Configuration file.
    #[arg(long = "config.file", value_name = "FILE", default_value = "aitask.yml")]
    pub config_file: PathBuf,
    /// Check the configuration and exit: 0 if it is valid, 2 if not. Prints notes on what is valid but
    /// probably not meant.
    #[arg(long = "config.check")]
    pub config_check: bool,
    /// Reload when a file of the configuration has changed.
    #[arg(long = "config.enable-auto-reload")]
    pub enable_auto_reload: bool,
    /// Interval between checks for changed files.
    #[arg(long = "config.auto-reload-interval", value_name = "DURATION", default_value = "30s",
        value_parser = positive_duration)]
    pub auto_reload_interval: Duration,
    /// Directory in which the history of the tasks survives the process; created if it does not
    /// exist. Empty means none: a restart then loses the history.
    #[arg(long = "storage.path", value_name = "DIR", default_value = "",
        hide_default_value = true, value_parser = OsStringValueParser::new().map(PathBuf::from))]
    storage_path: PathBuf,
    /// Let applications register tasks with PUT, POST and DELETE below `/api/v1/tasks`; needs
    /// `--storage.path`.
    #[arg(long = "web.enable-task-receiver")]
    pub enable_task_receiver: bool,
    /// Number of failed polls kept for the pages, over all tasks.
    #[arg(long = "history.limit", value_name = "N", default_value_t = 100, value_parser = count)]
    pub history_limit: usize,
    /// Flags of the web endpoints.
    #[command(flatten)]
    pub web: WebFlags,
    /// Flags of the logging.
    #[command(flatten)]
    pub log: LogFlags,
}

impl ExporterFlags {
    /// Checks whether the flags fit each other.
    ///
    /// # Errors
    /// Fails when a flag needs another one.
    pub fn check(&self) -> Result<(), &'static str> {
        match self.enable_task_receiver && self.storage_path().is_none() {
            true => {
                Err("--web.enable-task-receiver needs --storage.path: what is registered must \
                         survive a restart")
            }
            false => Ok(()),
        }
    }

    /// Returns the storage path, if there is one.
    pub fn storage_path(&self) -> Option<&Path> {
        named(&self.storage_path)
    }
}

/// Returns the path of a flag, whose default is an empty one.
fn named(path: &Path) -> Option<&Path> {
    (!path.as_os_str().is_empty()).then_some(path)
}

/// The flags of the web endpoints.
#[derive(Args, Clone, Debug)]
pub struct WebFlags {
    /// Address to listen on; repeatable. Without a host: every address.
    #[arg(long = "web.listen-address", value_name = "[HOST]:PORT", default_value = ":10054")]
    pub listen_addresses: Vec<ListenAddress>,
    /// Path of the metrics.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics",
        value_parser = telemetry_path)]
    pub telemetry_path: String,
    /// File with TLS, users and headers of the web server, in the format of Prometheus'
    /// exporter-toolkit. Empty means none.
    #[arg(long = "web.config.file", value_name = "FILE", default_value = "",
        hide_default_value = true, value_parser = OsStringValueParser::new().map(PathBuf::from))]
    web_config_file: PathBuf,
    /// Answer `/-/healthy` and `/-/ready` without a password.
    #[arg(long = "web.unauthenticated-health")]
    pub unauthenticated_health: bool,
    /// Maximum number of simultaneous scrapes; further ones get 503. 0 means no limit.
    #[arg(long = "web.max-requests", value_name = "N", default_value_t = 40, value_parser = count)]
    pub max_requests: usize,
}

impl WebFlags {
    /// Returns the path of the web configuration, if there is one.
    pub fn config_file(&self) -> Option<PathBuf> {
        named(&self.web_config_file).map(Path::to_owned)
    }
}

/// The flags of the demo.
#[derive(Args, Debug)]
pub struct DemoFlags {
    /// Flags of the web endpoints.
    #[command(flatten)]
    pub web: WebFlags,
    /// Flags of the logging.
    #[command(flatten)]
    pub log: LogFlags,
}

/// The flags of the simulated gateway.
#[derive(Args, Debug)]
pub struct SimulateFlags {
    /// Address to listen on; repeatable. Without a host: every address.
    #[arg(long = "web.listen-address", value_name = "[HOST]:PORT", default_value = ":10055")]
    pub listen_addresses: Vec<ListenAddress>,
    /// Flags of the logging.
    #[command(flatten)]
    pub log: LogFlags,
}

/// The flags of `poll`.
#[derive(Args, Debug)]
pub struct PollFlags {
    /// Task IDs; they do not have to be in the configuration.
    #[arg(required_unless_present = "list", value_name = "ID")]
    pub ids: Vec<String>,
    /// Ask for the list of all tasks of this provider instead, and print what would be followed. The
    /// configuration does not have to follow the list.
    #[arg(long, value_name = "PROVIDER", conflicts_with_all = ["ids", "provider", "params"])]
    pub list: Option<String>,
    /// Name of the provider; by default the only one, or the one at which the configuration lists the
    /// ID.
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// Value for a further placeholder of the provider's request, for IDs that are not in the
    /// configuration; repeatable.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = param)]
    pub params: Vec<(String, String)>,
    /// Configuration file.
    #[arg(long = "config.file", value_name = "FILE", default_value = "aitask.yml")]
    pub config_file: PathBuf,
    /// Flags of the logging.
    #[command(flatten)]
    pub log: LogFlags,
}

/// The flags of `discover`.
#[derive(Args, Debug)]
pub struct DiscoverFlags {
    /// Name of the source to ask; all sources if it is absent.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Configuration file.
    #[arg(long = "config.file", value_name = "FILE", default_value = "aitask.yml")]
    pub config_file: PathBuf,
    /// Flags of the logging.
    #[command(flatten)]
    pub log: LogFlags,
}

/// The flags of the logging.
#[derive(Args, Clone, Copy, Debug)]
pub struct LogFlags {
    /// Minimum level of the messages that are logged.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    pub level: LogLevel,
    /// Format of the log messages on stderr.
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt")]
    pub format: LogFormat,
}

/// The levels of log messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Every failed poll and every change of a state.
    Debug,
    /// Events of the process.
    Info,
    /// Problems that may need attention.
    Warn,
    /// Problems that keep the exporter from working.
    Error,
}

/// The formats of log messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// A JSON object per line.
    Json,
}

/// An address to listen on, such as `:10054`, `127.0.0.1:10054`, `[::1]:10054` or
/// `localhost:10054`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// Text of the flag.
    pub text: String,
    /// Addresses to try in this order; the first that can be bound is used.
    pub candidates: Vec<SocketAddr>,
}

impl std::str::FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let candidates = match text.strip_prefix(':') {
            Some(port) => {
                let port: u16 =
                    port.parse().map_err(|_| "the port must be a number up to 65535")?;
                // The first address accepts IPv4 as well, if the host has IPv6 at all.
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
    if duration.is_zero() { Err("must be greater than zero".to_owned()) } else { Ok(duration) }
}

fn count(text: &str) -> Result<usize, String> {
    let count = text.parse::<u32>().ok().and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| format!("write a whole number from 0 to {}", u32::MAX))
}

fn param(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Paths of other endpoints.
const TAKEN: [&str; 8] = [
    "/tasks",
    "/api/v1/tasks",
    "/service-discovery",
    "/probe",
    "/config",
    "/-/reload",
    "/-/healthy",
    "/-/ready",
];

fn telemetry_path(text: &str) -> Result<String, &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    if !text.starts_with('/') || text == "/" || !text.chars().all(plain) {
        return Err("write a path like `/metrics`");
    }
    // The pages of tasks are below theirs.
    if TAKEN.contains(&text) || text.starts_with("/tasks/") || text.starts_with("/api/v1/tasks/") {
        return Err("another endpoint has this path; write one like `/metrics`");
    }
    Ok(text.to_owned())
}
