//! Errors of the HTTP client: the reason of a failed poll, and words for a person.

use std::error::Error;
use std::io;

use crate::observation::Reason;
use crate::tls::explain::{Peer, explain};
use crate::visible::excerpt;

/// The most characters of an error's text that are shown; a proxy's may hold what a peer has sent.
const MAX_CHARS: usize = 200;

/// Returns the reason that an error stands for, and what happened. The text comes without the URL,
/// in which an ID stands.
pub fn classify(error: &reqwest::Error) -> (Reason, String) {
    // The last is the cause; the first would tell the URL.
    let cause = chain(error).skip(1).last();
    let cause = cause.map_or_else(|| "the request failed".to_owned(), ToString::to_string);
    if error.is_timeout() {
        return (Reason::Timeout, excerpt(&cause, MAX_CHARS));
    }
    if let Some(error) = chain(error).find_map(tls_error) {
        return (Reason::Tls, explain(error, Peer::Server));
    }
    let is_closed = |error| io_kind(error) == Some(io::ErrorKind::UnexpectedEof);
    if error.is_connect() && chain(error).any(is_closed) {
        let closed = "the server closed the connection instead of speaking TLS: is the port right?";
        return (Reason::Connect, closed.to_owned());
    }
    (Reason::Connect, excerpt(&cause, MAX_CHARS))
}

/// Iterates over an error and all that caused it.
fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| Error::source(*error))
}

/// Returns the error of rustls that an error is: bare, or in I/O errors, whose contents are not
/// their sources.
fn tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let io = error.downcast_ref::<io::Error>();
    match io.and_then(io::Error::get_ref) {
        Some(inner) => tls_error(inner),
        None => error.downcast_ref(),
    }
}

/// Returns the kind of the innermost of I/O errors within each other.
fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let io = error.downcast_ref::<io::Error>()?;
    io.get_ref().and_then(|inner| io_kind(inner)).or(Some(io.kind()))
}
