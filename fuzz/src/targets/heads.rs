//! The bytes are sent by a client of the web endpoints: the responses are complete, the connection
//! ends after the last byte of the client, and nothing panics.

use std::net::Ipv4Addr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aitask_exporter::clock::Clock;
use aitask_exporter::config::ConfigFiles;
use aitask_exporter::fetch::resolver::Resolver;
use aitask_exporter::history::FailureHistory;
use aitask_exporter::poll::worker::Services;
use aitask_exporter::reload::registrations::ReceiverFlags;
use aitask_exporter::reload::{self, ConfigManager, ConfigSource, ProviderClients};
use aitask_exporter::store::Store;
use aitask_exporter::telemetry::Telemetry;
use aitask_exporter::web::auth::ClientAddress;
use aitask_exporter::web::connection_stage::ConnectionStage;
use aitask_exporter::web::listen::{self, ClientConnection};
use aitask_exporter::web::middleware::Authentication;
use aitask_exporter::web::stream::ComputePermits;
use aitask_exporter::web::{self, WebState};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Nothing listens at the provider's address, and no task is due for a year.
const CONFIG: &str = "
global: { poll_interval: 1y }
providers: [{ name: p, preset: mjdjourney, base_url: 'http://127.0.0.1:1' }]
tasks: [a, 'b/c', { id: 'd\"<&>', labels: { own: \"e\\\\f\\n\" } }]
";

/// Maximum time for a response; far longer than the slowest one, that of a probe, takes.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Size of a stream's buffer, in bytes.
const STREAM_BYTES: usize = 16 << 10;

struct Server {
    runtime: Runtime,
    router: axum::Router,
    stop: watch::Sender<bool>,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    aitask_exporter::tls::install();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let web = runtime.block_on(async {
        let (telemetry, clock) = (Arc::new(Telemetry::new()), Clock::system());
        let history = Arc::new(FailureHistory::new(10));
        let context = Services {
            runtime: runtime.handle().clone(),
            resolver: Resolver::system(),
            clock,
            storage: None,
            telemetry: Arc::clone(&telemetry),
            history: Arc::clone(&history),
        };
        let source = ConfigSource::Text("heads.yml", CONFIG.to_owned());
        let (upstreams, files) = (ProviderClients::new(), ConfigFiles::default());
        let built = reload::load(&source, &upstreams, &files, &context.resolver);
        let built = built.unwrap_or_else(|told| panic!("{told}"));
        let store = Arc::new(Store::new(clock));
        let flags = ReceiverFlags { has_task_receiver: true, has_web_config: false };
        let manager = ConfigManager::start(source, built, store, context, flags).await.unwrap();
        let manager = Arc::new(manager);
        // Without a storage path, valid registrations are refused.
        let receiving = Arc::clone(&manager);
        runtime.spawn(async move { receiving.receive_registrations().await });
        WebState {
            reloads: manager.reloads(),
            manager,
            telemetry,
            history,
            telemetry_path: "/metrics".to_owned(),
            compute_permits: ComputePermits::new(),
            web_config: None,
            stopping: AtomicBool::new(false),
        }
    });
    let guard = Authentication {
        web_config: None,
        unauthenticated_paths: &[],
        telemetry: Arc::clone(&web.telemetry),
    };
    let router = web::router(Arc::new(web), 40, guard);
    Server { runtime, router, stop: watch::Sender::new(false) }
});

pub fn run(data: &[u8]) {
    let server = &*SERVER;
    let (client, stream) = duplex(STREAM_BYTES);
    let (mut reader, mut writer) = tokio::io::split(client);
    let address = ClientAddress(Ipv4Addr::LOCALHOST.into());
    let client = ClientConnection { address, stage: Arc::new(ConnectionStage::new()) };
    let serving =
        listen::serve_connection(stream, client, server.router.clone(), server.stop.subscribe());
    let mut answers = Vec::new();
    let exchange = async {
        let write = async {
            // The server may have closed the connection before the client has sent everything.
            let _ = writer.write_all(data).await;
            let _ = writer.shutdown().await;
        };
        let read = reader.read_to_end(&mut answers);
        let ((), _, ()) = tokio::join!(write, read, serving);
    };
    let ended =
        server.runtime.block_on(async { tokio::time::timeout(READ_TIMEOUT, exchange).await });
    assert!(ended.is_ok(), "no end of {:?}", String::from_utf8_lossy(data));
    let mut rest = &*answers;
    while !rest.is_empty() {
        rest = answer(rest).unwrap_or_else(|| {
            panic!("{:?}: {:?}", data.escape_ascii(), String::from_utf8_lossy(rest))
        });
    }
}

/// Parses a response; returns the bytes after it, or `None` if it is invalid or incomplete.
fn answer(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, rest) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 4..]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse::<u16>().ok()?;
    let headers: Vec<_> = lines.map(|line| line.split_once(": ")).collect::<Option<_>>()?;
    assert!(headers.iter().all(|(_, value)| !value.contains(char::is_control)), "{head}");
    assert!((100..600).contains(&status) && status != 500, "{head}");
    let header = |name| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    // A browser must not guess the type of a response with foreign bytes.
    let is_guarded = header("x-content-type-options") == Some("nosniff");
    assert!(header("content-type").is_none() || is_guarded, "{head}");
    if status < 200 {
        return Some(rest);
    }
    // The response to HEAD has headers only.
    if rest.is_empty() || rest.starts_with(b"HTTP/1.") {
        return Some(rest);
    }
    match (header("transfer-encoding"), header("content-length")) {
        (Some("chunked"), None) => chunked(rest),
        (None, Some(length)) => rest.get(length.parse::<usize>().ok()?..),
        // The body ends with the connection.
        (None, None) => Some(&[]),
        _ => None,
    }
}

fn chunked(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        rest = rest.get(end + 2 + size..)?.strip_prefix(b"\r\n")?;
        if size == 0 {
            return Some(rest);
        }
    }
}
