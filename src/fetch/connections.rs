//! Connections that are kept from poll to poll, and what is done about those that a server has
//! closed meanwhile.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderMap, StatusCode, Version};
use hyper_util::client::legacy::connect::HttpInfo;
use parking_lot::Mutex;
use reqwest::{Client, RequestBuilder, Response};
use tokio::time::Instant;

use super::client::{BuildError, ClientSettings};
use super::failure;

/// Below the minute after which most gateways close an idle connection.
const MAX_IDLE_SECONDS: u64 = 50;
/// The times for which idle connections are kept, the longest first. A server that announces a
/// shorter time moves its provider down this list, so that what servers announce makes no more new
/// clients than it has entries.
const IDLE_SECONDS: [u64; 15] = [MAX_IDLE_SECONDS, 40, 30, 25, 20, 15, 12, 10, 8, 5, 4, 3, 2, 1, 0];
/// The margin by which a connection is given up before the time that a server announces. The request
/// has to arrive in time, and the server began to count half a round trip before us.
const MARGIN: Duration = Duration::from_secs(1);
/// The most addresses in each of two sets: as many as Linux has ports for outgoing connections.
const MAX_ADDRESSES: usize = 28_232;

/// The connections of one provider.
pub struct Connections {
    settings: ClientSettings,
    pool: Mutex<Pool>,
    /// Keeps no connection, so that each of its requests goes by a fresh one.
    fresh: OnceLock<Client>,
}

struct Pool {
    client: Client,
    /// The moment from which another client is used. No connection is older than its client.
    renew_at: Instant,
    /// For how long an idle connection is kept.
    idle: Duration,
    answered: Answered,
}

/// The local addresses of connections by which an answer has come: the next request by one of them
/// goes by a reused connection.
struct Answered {
    recent: HashSet<SocketAddr>,
    older: HashSet<SocketAddr>,
    since: Instant,
    /// The longest time between two answers by one connection.
    memory: Duration,
}

impl Answered {
    fn new(memory: Duration, now: Instant) -> Self {
        Self { recent: HashSet::new(), older: HashSet::new(), since: now, memory }
    }

    fn contains(&self, address: &SocketAddr) -> bool {
        self.recent.contains(address) || self.older.contains(address)
    }

    /// Adds an address, which is kept for at least `memory`, as long as there are ports.
    fn insert(&mut self, address: SocketAddr, now: Instant) {
        let is_over = now.saturating_duration_since(self.since) >= self.memory;
        if is_over || self.recent.len() >= MAX_ADDRESSES {
            self.older = std::mem::take(&mut self.recent);
            self.since = now;
        }
        self.recent.insert(address);
    }

    fn remove(&mut self, address: &SocketAddr) {
        self.recent.remove(address);
        self.older.remove(address);
    }
}

/// Its settings may hold a proxy's password.
impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

impl Connections {
    /// Returns the means to connect, with no connection yet.
    ///
    /// # Errors
    /// When the settings do not go together.
    pub fn new(settings: ClientSettings) -> Result<Self, BuildError> {
        let idle = Duration::from_secs(MAX_IDLE_SECONDS);
        let client = settings.build(idle)?;
        let now = Instant::now();
        let answered = Answered::new(idle + settings.poll_timeout, now);
        let renew_at = now + settings.lifetime;
        let pool = Mutex::new(Pool { client, renew_at, idle, answered });
        Ok(Self { settings, pool, fresh: OnceLock::new() })
    }

    /// Sends a request that begins at `now` and returns the head of its answer. Where a reused
    /// connection has broken before the answer began, the request is sent once more by a fresh one.
    ///
    /// # Errors
    /// Those of reqwest; of the second attempt where there was one.
    pub async fn send(
        &self,
        now: Instant,
        mut request: impl FnMut(&Client) -> RequestBuilder,
    ) -> reqwest::Result<Response> {
        let client = self.client(now);
        let sent = request(&client).send().await;
        let has_broken = match &sent {
            Ok(response) => {
                // The last word of a server that gave up an idle connection while the request was
                // on its way to it (RFC 9110, 15.5.9).
                let gives_up = response.status() == StatusCode::REQUEST_TIMEOUT && closes(response);
                self.note_answer(response) && gives_up
            }
            // Over HTTP/2 others may have broken with it, so that its address stays known. A fresh
            // connection that gets the same one meanwhile may cost a request too many.
            Err(error) => failure::broken_connection(error)
                .is_some_and(|address| self.pool.lock().answered.contains(&address)),
        };
        match has_broken.then(|| self.fresh()).flatten() {
            Some(fresh) => request(&fresh).send().await,
            None => sent,
        }
    }

    /// Returns the client for requests that begin at `now`.
    fn client(&self, now: Instant) -> Client {
        let mut pool = self.pool.lock();
        if now >= pool.renew_at
            && let Ok(client) = self.settings.build(pool.idle)
        {
            self.replace(&mut pool, client, now);
        }
        pool.client.clone()
    }

    /// Puts another client in the place of the one before, whose connections close with their last
    /// answer.
    fn replace(&self, pool: &mut Pool, client: Client, now: Instant) {
        pool.client = client;
        pool.renew_at = now + self.settings.lifetime;
    }

    /// Returns the client that keeps no connection.
    fn fresh(&self) -> Option<Client> {
        if let Some(client) = self.fresh.get() {
            return Some(client.clone());
        }
        let client = self.settings.build(Duration::ZERO).ok()?;
        Some(self.fresh.get_or_init(|| client).clone())
    }

    /// Takes note of an answer by a connection that may be kept: what has been answered by it, and
    /// for how long it may be idle. Reports whether it was a reused one.
    fn note_answer(&self, response: &Response) -> bool {
        let idle = announced(response.headers()).and_then(idle_time);
        let address = response.extensions().get::<HttpInfo>().map(HttpInfo::local_addr);
        let mut pool = self.pool.lock();
        if let Some(idle) = idle.filter(|idle| *idle < pool.idle)
            && let Ok(client) = self.settings.build(idle)
        {
            pool.idle = idle;
            self.replace(&mut pool, client, Instant::now());
        }
        let Some(address) = address else { return false };
        let was_reused = pool.answered.contains(&address);
        if closes(response) {
            pool.answered.remove(&address);
        } else {
            pool.answered.insert(address, Instant::now());
        }
        was_reused
    }
}

/// Reports whether the server closes the connection after an answer.
fn closes(response: &Response) -> bool {
    let says = |wanted: &str| {
        let values = response.headers().get_all(CONNECTION).into_iter();
        let mut words = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
        words.any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    match response.version() {
        Version::HTTP_09 | Version::HTTP_10 => !says("keep-alive"),
        Version::HTTP_11 => says("close"),
        _ => false,
    }
}

/// Returns for how long a server says it keeps an idle connection: `Keep-Alive: timeout=5, max=100`.
fn announced(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("keep-alive").into_iter();
    let parameters = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    let timeouts = parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_timeout = name.trim().eq_ignore_ascii_case("timeout");
        // A time that fits into no number is none that has to be heeded.
        let seconds = value.trim().trim_matches('"').parse().ok().filter(|_| is_timeout)?;
        Some(Duration::from_secs(seconds))
    });
    timeouts.min()
}

/// Returns for how long to keep a connection that the server keeps for `announced`; `None` where it
/// keeps them longer than we do.
fn idle_time(announced: Duration) -> Option<Duration> {
    let usable = announced.saturating_sub(MARGIN);
    let mut shorter = IDLE_SECONDS.into_iter().map(Duration::from_secs);
    shorter.find(|idle| *idle <= usable)
}

#[cfg(test)]
mod tests;
