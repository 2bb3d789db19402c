//! Connections that are kept between requests, and the retry of requests on those that a server has closed
//! meanwhile.

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

use super::client::{BuildError, ClientSettings, broken_connection};

/// Maximum idle time of a connection, in seconds: less than the minute after which most gateways close
/// it.
const MAX_IDLE_SECONDS: u64 = 50;
/// Idle times of connections, in seconds, longest first. A server that announces a shorter time moves
/// its connections down this list, so that announcements cause no more new clients than it has entries.
const IDLE_SECONDS: [u64; 15] = [MAX_IDLE_SECONDS, 40, 30, 25, 20, 15, 12, 10, 8, 5, 4, 3, 2, 1, 0];
/// Margin by which a connection is closed before the time that a server announces: the request has to
/// arrive in time, and the server has started counting half a round trip earlier.
const MARGIN: Duration = Duration::from_secs(1);
/// Maximum number of addresses in each of two sets: the number of ports that Linux has for outgoing
/// connections.
const MAX_ADDRESSES: usize = 28_232;

/// Connections to one server.
pub struct Connections {
    settings: ClientSettings,
    current: Mutex<CurrentClient>,
    /// Client that keeps no connection, so that each of its requests opens one.
    fresh: OnceLock<Client>,
}

struct CurrentClient {
    client: Client,
    /// Time from which another client is used. No connection is older than its client.
    renew_at: Instant,
    /// Maximum idle time of a connection.
    idle: Duration,
    used: UsedAddresses,
}

/// Local addresses of connections that have received a response: another request on one of them reuses
/// its connection.
struct UsedAddresses {
    recent: HashSet<SocketAddr>,
    older: HashSet<SocketAddr>,
    since: Instant,
    /// Longest time between two responses on one connection.
    memory: Duration,
}

impl UsedAddresses {
    fn new(memory: Duration, now: Instant) -> Self {
        Self { recent: HashSet::new(), older: HashSet::new(), since: now, memory }
    }

    fn contains(&self, address: &SocketAddr) -> bool {
        self.recent.contains(address) || self.older.contains(address)
    }

    /// Adds an address, which is kept for at least `memory`, up to the number of ports. Returns true if it
    /// was in the set.
    fn insert(&mut self, address: SocketAddr, now: Instant) -> bool {
        let is_over = now.saturating_duration_since(self.since) >= self.memory;
        if is_over || self.recent.len() >= MAX_ADDRESSES {
            self.older = std::mem::take(&mut self.recent);
            self.since = now;
        }
        !self.recent.insert(address) || self.older.contains(&address)
    }

    /// Removes an address. Returns true if it was in the set.
    fn remove(&mut self, address: &SocketAddr) -> bool {
        let was_recent = self.recent.remove(address);
        self.older.remove(address) || was_recent
    }
}

/// Without the settings, which may contain a proxy's password.
impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

impl Connections {
    /// Returns connections that are not open yet.
    ///
    /// # Errors
    /// Fails when the settings contradict each other.
    pub fn new(settings: ClientSettings) -> Result<Self, BuildError> {
        let idle = Duration::from_secs(MAX_IDLE_SECONDS);
        let client = settings.build(idle)?;
        let now = Instant::now();
        let used = UsedAddresses::new(idle + settings.timeout, now);
        let renew_at = now + settings.lifetime;
        let current = Mutex::new(CurrentClient { client, renew_at, idle, used });
        Ok(Self { settings, current, fresh: OnceLock::new() })
    }

    /// Sends a request that starts at `now`, and returns the head of the response. If a reused
    /// connection breaks before the response begins, the request is sent once more on a new one.
    ///
    /// # Errors
    /// Fails when the request fails; if it was sent twice, the error of the second attempt.
    pub async fn send(
        &self,
        now: Instant,
        mut request: impl FnMut(&Client) -> RequestBuilder,
    ) -> reqwest::Result<Response> {
        let client = self.client(now);
        let sent = request(&client).send().await;
        let is_stale = match &sent {
            Ok(response) => {
                // A server has closed an idle connection while the request was on its way to it
                // (RFC 9110, 15.5.9).
                let gives_up = response.status() == StatusCode::REQUEST_TIMEOUT && closes(response);
                self.record_response(response) && gives_up
            }
            // Over HTTP/2 several requests may fail with one connection, so its address stays in the
            // set. A new connection that gets the same address may cost one unnecessary request.
            Err(error) => broken_connection(error)
                .is_some_and(|address| self.current.lock().used.contains(&address)),
        };
        match is_stale.then(|| self.fresh()).flatten() {
            Some(fresh) => request(&fresh).send().await,
            None => sent,
        }
    }

    /// Returns the client for requests that start at `now`.
    fn client(&self, now: Instant) -> Client {
        let mut current = self.current.lock();
        if now >= current.renew_at
            && let Ok(client) = self.settings.build(current.idle)
        {
            self.replace(&mut current, client, now);
        }
        current.client.clone()
    }

    /// Replaces the client. The connections of the old one close after their last response.
    fn replace(&self, current: &mut CurrentClient, client: Client, now: Instant) {
        current.client = client;
        current.renew_at = now + self.settings.lifetime;
    }

    /// Returns the client that keeps no connection.
    fn fresh(&self) -> Option<Client> {
        if let Some(client) = self.fresh.get() {
            return Some(client.clone());
        }
        let client = self.settings.build(Duration::ZERO).ok()?;
        Some(self.fresh.get_or_init(|| client).clone())
    }

    /// Records the connection of a response and its announced idle time. Returns true if the connection
    /// was reused.
    fn record_response(&self, response: &Response) -> bool {
        let idle = announced(response.headers()).and_then(idle_time);
        let address = response.extensions().get::<HttpInfo>().map(HttpInfo::local_addr);
        let mut current = self.current.lock();
        if let Some(idle) = idle.filter(|idle| *idle < current.idle)
            && let Ok(client) = self.settings.build(idle)
        {
            current.idle = idle;
            self.replace(&mut current, client, Instant::now());
        }
        let Some(address) = address else { return false };
        match closes(response) {
            true => current.used.remove(&address),
            false => current.used.insert(address, Instant::now()),
        }
    }
}

/// Reports whether the server closes the connection after a response.
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

/// Returns the idle time that a server announces: `Keep-Alive: timeout=5, max=100`.
fn announced(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("keep-alive").into_iter();
    let parameters = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    let timeouts = parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_timeout = name.trim().eq_ignore_ascii_case("timeout");
        // A time too large for a number never matters.
        let seconds = value.trim().trim_matches('"').parse().ok().filter(|_| is_timeout)?;
        Some(Duration::from_secs(seconds))
    });
    timeouts.min()
}

/// Returns the idle time for connections that the server keeps for `announced`; `None` if that is
/// longer than ours.
fn idle_time(announced: Duration) -> Option<Duration> {
    let usable = announced.saturating_sub(MARGIN);
    let mut shorter = IDLE_SECONDS.into_iter().map(Duration::from_secs);
    shorter.find(|idle| *idle <= usable)
}

#[cfg(test)]
mod tests;
