//! The stage of a connection: the event that it waits for, and the deadline.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::telemetry::web::CloseReason;

/// Maximum time for the head of a request, and for a TLS handshake. Prometheus sends its headers in
/// one packet, and needs two for its part of a handshake.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time between two requests: longer than usual scrape intervals, so that scrapes share a
/// connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum time for taking a whole response. Prometheus itself gives up earlier, and each response
/// in flight holds a thread and a snapshot, which keeps the replaced data alive.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(120);

/// The stage of a connection and the time since when it has lasted.
#[derive(Debug)]
pub struct ConnectionStage(Mutex<StageState>);

#[derive(Debug)]
struct StageState {
    waiting: WaitingFor,
    since: Instant,
    /// Number of requests that were read and whose responses have not been sent. More than one if
    /// the client sends requests without waiting for responses.
    unanswered: usize,
    /// True if a part of the next head has been read.
    is_head_begun: bool,
    /// Time by which the client must have taken the whole response.
    send_by: Option<Instant>,
    /// Reason for which the exporter closes the connection.
    closed: Option<CloseReason>,
}

/// The events that a connection can wait for. Connections with lesser values are evicted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitingFor {
    /// The next request, if there will be one.
    Request,
    /// The end of a TLS handshake or of the head of a request.
    Head,
    /// A response, or its reader.
    Response,
}

impl ConnectionStage {
    /// Creates the stage of a new connection, which waits for its first request.
    pub fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(StageState {
            waiting: WaitingFor::Head,
            since: now,
            unanswered: 0,
            is_head_begun: false,
            send_by: None,
            closed: None,
        }))
    }

    /// Notes that the head of a request begins: the first one after a handshake, or the next one.
    pub fn begin_head(&self) {
        let mut state = self.0.lock();
        if state.unanswered == 0 {
            (state.waiting, state.since) = (WaitingFor::Head, Instant::now());
        }
    }

    /// Notes whether the bytes read last end within the head of a request, possibly the next one.
    pub fn set_head_begun(&self, is_begun: bool) {
        self.0.lock().is_head_begun = is_begun;
    }

    /// Notes that the head of a request is complete.
    pub fn begin_request(&self) {
        let mut state = self.0.lock();
        (state.waiting, state.since) = (WaitingFor::Response, Instant::now());
        state.unanswered += 1;
    }

    /// Notes that a response is ready for its client to take.
    pub fn begin_answer(&self) {
        self.0.lock().send_by = Some(Instant::now() + RESPONSE_TIMEOUT);
    }

    /// Notes that a response was sent or abandoned.
    pub fn end_answer(&self) {
        let mut state = self.0.lock();
        state.unanswered = state.unanswered.saturating_sub(1);
        if state.unanswered == 0 {
            state.waiting =
                if state.is_head_begun { WaitingFor::Head } else { WaitingFor::Request };
            state.since = Instant::now();
            state.send_by = None;
        }
    }

    /// Notes that the client took a part of a response.
    pub fn progress(&self) {
        let mut state = self.0.lock();
        if state.waiting == WaitingFor::Response {
            state.since = Instant::now();
        }
    }

    /// Returns the event that the connection waits for.
    pub fn waiting(&self) -> WaitingFor {
        self.0.lock().waiting
    }

    /// Returns the event that the connection waits for, and the time of the last activity.
    pub fn idleness(&self) -> (WaitingFor, Instant) {
        let state = self.0.lock();
        (state.waiting, state.since)
    }

    /// Returns the time by which the client must have sent something; `None` while it waits for a
    /// response.
    pub fn read_deadline(&self) -> Option<Instant> {
        let state = self.0.lock();
        match state.waiting {
            WaitingFor::Head => Some(state.since + HEADER_TIMEOUT),
            WaitingFor::Response => None,
            WaitingFor::Request => Some(state.since + IDLE_TIMEOUT),
        }
    }

    /// Returns the time by which the client must have taken the whole response; `None` while there
    /// is none.
    pub fn send_deadline(&self) -> Option<Instant> {
        self.0.lock().send_by
    }

    /// Notes why the connection is being closed. The first reason stays.
    pub fn close(&self, reason: CloseReason) {
        self.0.lock().closed.get_or_insert(reason);
    }

    /// Returns the reason for which the exporter closed the connection, if it did.
    pub fn closed(&self) -> Option<CloseReason> {
        self.0.lock().closed
    }
}

impl Default for ConnectionStage {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_once_every_answer_was_sent() {
        let stage = ConnectionStage::new();
        assert_eq!(stage.waiting(), WaitingFor::Head);
        // The second request arrives before the first response is sent.
        stage.begin_request();
        assert_eq!(stage.send_deadline(), None);
        stage.begin_answer();
        stage.begin_request();
        stage.end_answer();
        assert_eq!((stage.waiting(), stage.read_deadline()), (WaitingFor::Response, None));
        // Bytes of the third request do not make the connection wait for its head.
        stage.begin_head();
        assert_eq!(stage.waiting(), WaitingFor::Response);
        stage.begin_answer();
        assert_eq!(stage.send_deadline(), Some(Instant::now() + RESPONSE_TIMEOUT));
        stage.end_answer();
        assert_eq!((stage.waiting(), stage.send_deadline()), (WaitingFor::Request, None));
        stage.begin_head();
        assert_eq!(stage.waiting(), WaitingFor::Head);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_something_is_not_idle() {
        let stage = ConnectionStage::new();
        let start = Instant::now();
        tokio::time::advance(Duration::from_secs(3)).await;
        stage.progress();
        assert_eq!(stage.idleness(), (WaitingFor::Head, start), "nothing was asked for yet");
        stage.begin_request();
        tokio::time::advance(Duration::from_secs(3)).await;
        stage.progress();
        assert_eq!(stage.idleness(), (WaitingFor::Response, start + Duration::from_secs(6)));
    }
}
