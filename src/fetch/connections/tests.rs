use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderValue;
use rcgen::generate_simple_self_signed;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

use super::super::client::{ClientSpec, MAX_AGE};
use super::super::resolver::Resolver;
use super::*;
use crate::config::load_text;

fn kept(values: &[&str]) -> Option<u64> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append("keep-alive", HeaderValue::from_str(value).unwrap());
    }
    announced(&headers).and_then(idle_time).map(|idle| idle.as_secs())
}

#[test]
fn a_connection_is_kept_for_less_than_the_server_announces() {
    for (values, expected) in [
        (&["timeout=5"][..], Some(4)),
        (&["TIMEOUT = 5 , max=1000"], Some(4)),
        (&["max=1, timeout=\"7\""], Some(5)),
        (&["timeout=60", "timeout=3"], Some(2)),
        (&["timeout=1"], Some(0)),
        (&["timeout=0"], Some(0)),
        (&["timeout=61"], Some(50)),
        (&["timeout=18446744073709551615"], Some(50)),
        (&["timeout=99999999999999999999"], None),
        (&["timeout=-1"], None),
        (&["timeout"], None),
        (&["timeout=5s"], None),
        (&["max=5"], None),
        (&[""], None),
        (&[], None),
    ] {
        assert_eq!(kept(values), expected, "{values:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_is_known_for_as_long_as_its_connection_may_be_reused() {
    let memory = Duration::from_secs(60);
    let mut used = UsedAddresses::new(memory, Instant::now());
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    used.insert(address(1), Instant::now());
    for _ in 0..6 {
        tokio::time::advance(Duration::from_secs(10)).await;
        used.insert(address(2), Instant::now());
        assert!(used.contains(&address(1)) && used.contains(&address(2)));
    }
    // It is forgotten, and one that goes on answering is not.
    for _ in 0..7 {
        tokio::time::advance(Duration::from_secs(10)).await;
        used.insert(address(2), Instant::now());
    }
    assert!(!used.contains(&address(1)) && used.contains(&address(2)));
    used.remove(&address(2));
    assert!(!used.contains(&address(2)));
    // However many there are.
    for port in 0..u16::MAX {
        used.insert(address(port), Instant::now());
    }
    assert!(used.recent.len() + used.older.len() <= 2 * MAX_ADDRESSES);
}

#[test]
fn the_list_of_idle_times_falls_to_zero() {
    assert!(IDLE_SECONDS.is_sorted_by(|longer, shorter| longer > shorter));
    assert_eq!(IDLE_SECONDS.last(), Some(&0));
}

/// A server that goes on answering whatever becomes of its name.
#[derive(Clone)]
struct TestServer(Arc<Counts>);

struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    /// Number of connections that have ended.
    ended: watch::Sender<usize>,
    /// Lets the server respond to the request for `/slow`.
    go_on: Notify,
}

impl TestServer {
    /// Serves on `listener`: HTTP/2 where there is TLS.
    fn start(listener: TcpListener, tls: Option<TlsAcceptor>) -> Self {
        let (connections, requests) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (ended, go_on) = (watch::Sender::new(0), Notify::new());
        let server = Self(Arc::new(Counts { connections, requests, ended, go_on }));
        let this = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (this, tls) = (this.clone(), tls.clone());
                tokio::spawn(async move {
                    this.0.connections.fetch_add(1, Ordering::SeqCst);
                    match tls {
                        None => this.http1(stream).await.unwrap_or_default(),
                        Some(tls) => this.http2(tls.accept(stream).await.unwrap()).await,
                    }
                    this.0.ended.send_modify(|ended| *ended += 1);
                });
            }
        });
        server
    }

    async fn respond(&self, path: &str) {
        self.0.requests.fetch_add(1, Ordering::SeqCst);
        if path == "/slow" {
            self.0.go_on.notified().await;
        }
    }

    async fn http1(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let mut head = Vec::new();
        loop {
            head.push(stream.read_u8().await?);
            if head.ends_with(b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&head).into_owned();
                self.respond(text.split(' ').nth(1).unwrap()).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
                head.clear();
            }
        }
    }

    async fn http2(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut reply))) = connection.accept().await {
            let this = self.clone();
            tokio::spawn(async move {
                this.respond(request.uri().path()).await;
                reply.send_response(http::Response::new(()), true).unwrap();
            });
        }
    }

    fn counts(&self) -> [usize; 2] {
        [&self.0.connections, &self.0.requests].map(|count| count.load(Ordering::SeqCst))
    }
}

/// Offers HTTP/2 alone.
fn acceptor() -> TlsAcceptor {
    let certified = generate_simple_self_signed(["moved.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let builder = rustls::ServerConfig::builder().with_no_client_auth();
    let mut config = builder.with_single_cert(vec![certified.cert.into()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// A name moves while the server at its old address goes on answering, to a request that is under way
/// too.
async fn follow(tls: Option<TlsAcceptor>) {
    let old = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = old.local_addr().unwrap().port();
    let new = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let (old, new) = (TestServer::start(old, tls.clone()), TestServer::start(new, tls.clone()));
    let address = Arc::new(Mutex::new(SocketAddr::from(([127, 0, 0, 1], 0))));
    let resolver = {
        let address = Arc::clone(&address);
        Resolver::with(move |_| Ok(vec![*address.lock()]))
    };
    let url = format!("{}://moved.test:{port}", if tls.is_some() { "https" } else { "http" });
    let text = format!(
        "providers: [{{ name: p, preset: mjdjourney, base_url: '{url}', \
         tls_config: {{ insecure_skip_verify: true }} }}]\ntasks: []\n"
    );
    let loaded = load_text("c.yml", &text, Path::new("")).unwrap();
    let settings =
        ClientSettings::read(&ClientSpec::from(&*loaded.config.providers[0]), resolver).unwrap();
    let lifetime = settings.lifetime;
    let connections = Connections::new(settings).unwrap();
    let start = Instant::now();
    let send = async |path: &str, now| {
        let url = format!("{url}{path}");
        let sent = connections.send(now, |client| client.get(&url)).await;
        assert_eq!(sent.unwrap().status(), StatusCode::OK);
    };
    let young = start + lifetime.saturating_sub(Duration::from_secs(1));
    let old_connections = if tls.is_some() { 1 } else { 2 };
    let (slow, rest) = (send("/slow", start), async {
        while old.counts()[1] < 1 {
            tokio::task::yield_now().await;
        }
        // Another one is kept and idle.
        send("/", start).await;
        *address.lock() = SocketAddr::from(([127, 0, 0, 2], 0));
        send("/", young).await;
        assert_eq!((old.counts(), new.counts()), ([old_connections, 3], [0, 0]));
        send("/", start + MAX_AGE).await;
        send("/", start + MAX_AGE).await;
        assert_eq!((old.counts(), new.counts()), ([old_connections, 3], [1, 2]));
        old.0.go_on.notify_one();
    });
    tokio::join!(slow, rest);
    let mut ended = old.0.ended.subscribe();
    ended.wait_for(|ended| *ended == old_connections).await.unwrap();
}

#[tokio::test]
async fn no_request_goes_by_a_connection_of_http_1_that_is_too_old() {
    crate::tls::install();
    follow(None).await;
}

#[tokio::test]
async fn no_request_goes_by_a_connection_of_http_2_that_is_too_old() {
    crate::tls::install();
    follow(Some(acceptor())).await;
}

#[test]
fn not_all_servers_are_connected_to_again_at_once() {
    let lifetime = |number: u32| super::super::client::lifetime(&format!("server-{number}"));
    let lifetimes: HashSet<_> = (0..200).map(lifetime).collect();
    assert!(lifetimes.len() > 40, "{lifetimes:?}");
    let right = MAX_AGE.saturating_sub(Duration::from_secs(60))..=MAX_AGE;
    assert!(lifetimes.iter().all(|lifetime| right.contains(lifetime)));
}
