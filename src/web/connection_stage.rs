//! The stage of a connection: what it is waiting for, and until when.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::lock::lock;
use crate::telemetry::web::CloseReason;

/// Prometheus sends its headers in one packet, and needs two for its part of a TLS handshake.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the scrape intervals in use, so that scrapes share a connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest time for taking a whole answer: Prometheus itself gives up after less, and each
/// answer under way keeps a thread, and a snapshot, which keeps what has changed since.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// The stage of a connection, and since when it has lasted.
#[derive(Debug)]
pub struct Stage(Mutex<State>);

#[derive(Debug)]
struct State {
    waiting: Waiting,
    since: Instant,
    /// Requests that were read, and whose answers have not been sent. More than one where a client
    /// sends the next before it has the answer.
    unanswered: usize,
    /// Whether a part of the next head has been read already.
    is_head_begun: bool,
    /// The moment by which the client must have taken the whole answer.
    send_by: Option<Instant>,
    /// The reason for which the exporter closes the connection, if it does.
    closed: Option<CloseReason>,
}

/// The stages of a connection. Those that are closed first for a new one come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waiting {
    /// The next request, if there is to be one.
    Request,
    /// The end of a TLS handshake or of the head of a request.
    Head,
    /// An answer, or its reader.
    Answer,
}

impl Stage {
    /// The stage of a connection whose first request may come.
    pub fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(State {
            waiting: Waiting::Head,
            since: now,
            unanswered: 0,
            is_head_begun: false,
            send_by: None,
            closed: None,
        }))
    }

    /// Notes that the head of a request begins: the first one after a handshake, or the next one.
    pub fn begin_head(&self) {
        let mut state = lock(&self.0);
        if state.unanswered == 0 {
            (state.waiting, state.since) = (Waiting::Head, Instant::now());
        }
    }

    /// Notes whether what was read last ends within the head of a request, be it the next one.
    pub fn set_head_begun(&self, is_begun: bool) {
        lock(&self.0).is_head_begun = is_begun;
    }

    /// Notes that the head of a request is whole.
    pub fn begin_request(&self) {
        let mut state = lock(&self.0);
        (state.waiting, state.since) = (Waiting::Answer, Instant::now());
        state.unanswered += 1;
    }

    /// Notes that an answer is there and its client may take it.
    pub fn begin_answer(&self) {
        lock(&self.0).send_by = Some(Instant::now() + ANSWER_TIMEOUT);
    }

    /// Notes that an answer was sent or given up.
    pub fn end_answer(&self) {
        let mut state = lock(&self.0);
        state.unanswered = state.unanswered.saturating_sub(1);
        if state.unanswered == 0 {
            state.waiting = if state.is_head_begun { Waiting::Head } else { Waiting::Request };
            state.since = Instant::now();
            state.send_by = None;
        }
    }

    /// Notes that the client took a part of an answer.
    pub fn progress(&self) {
        let mut state = lock(&self.0);
        if state.waiting == Waiting::Answer {
            state.since = Instant::now();
        }
    }

    /// Returns the stage.
    pub fn waiting(&self) -> Waiting {
        lock(&self.0).waiting
    }

    /// Returns the stage, and since when nothing has come or gone.
    pub fn idleness(&self) -> (Waiting, Instant) {
        let state = lock(&self.0);
        (state.waiting, state.since)
    }

    /// Returns the moment by which the client must have sent something; `None` while it waits for an answer.
    pub fn read_deadline(&self) -> Option<Instant> {
        let state = lock(&self.0);
        match state.waiting {
            Waiting::Head => Some(state.since + HEADER_TIMEOUT),
            Waiting::Answer => None,
            Waiting::Request => Some(state.since + IDLE_TIMEOUT),
        }
    }

    /// Returns the moment by which the client must have taken the whole answer; `None` while there is none.
    pub fn send_deadline(&self) -> Option<Instant> {
        lock(&self.0).send_by
    }

    /// Notes why the connection fails now. The first reason stays.
    pub fn close(&self, reason: CloseReason) {
        lock(&self.0).closed.get_or_insert(reason);
    }

    /// Returns the reason for which the exporter closed the connection, if it did.
    pub fn closed(&self) -> Option<CloseReason> {
        lock(&self.0).closed
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_once_every_answer_was_sent() {
        let stage = Stage::new();
        assert_eq!(stage.waiting(), Waiting::Head);
        // The second request comes before the first answer has gone.
        stage.begin_request();
        assert_eq!(stage.send_deadline(), None);
        stage.begin_answer();
        stage.begin_request();
        stage.end_answer();
        assert_eq!((stage.waiting(), stage.read_deadline()), (Waiting::Answer, None));
        // Bytes of the third do not make the connection wait for them.
        stage.begin_head();
        assert_eq!(stage.waiting(), Waiting::Answer);
        stage.begin_answer();
        assert_eq!(stage.send_deadline(), Some(Instant::now() + ANSWER_TIMEOUT));
        stage.end_answer();
        assert_eq!((stage.waiting(), stage.send_deadline()), (Waiting::Request, None));
        stage.begin_head();
        assert_eq!(stage.waiting(), Waiting::Head);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_something_is_not_idle() {
        let stage = Stage::new();
        let start = Instant::now();
        tokio::time::advance(Duration::from_secs(3)).await;
        stage.progress();
        assert_eq!(stage.idleness(), (Waiting::Head, start), "nothing was asked for yet");
        stage.begin_request();
        tokio::time::advance(Duration::from_secs(3)).await;
        stage.progress();
        assert_eq!(stage.idleness(), (Waiting::Answer, start + Duration::from_secs(6)));
    }
}
