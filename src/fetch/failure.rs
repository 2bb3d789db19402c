//! Errors of the HTTP client: the reason of a failed poll, words for a person, and whether a
//! connection has broken.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use http::Extensions;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpInfo;

use crate::observation::Reason;
use crate::printable::excerpt;
use crate::tls::explain::{Peer, explain};

/// The most characters of an error's text that are shown; a proxy's may hold what a peer has sent.
const MAX_CHARS: usize = 200;

/// The words with which a server of HTTP/2 gives up a request that it has not answered, as it does
/// with all of them when it ends.
const ABANDONED: [h2::Reason; 3] =
    [h2::Reason::NO_ERROR, h2::Reason::REFUSED_STREAM, h2::Reason::CANCEL];

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
    let unreadable = chain(error).find_map(unreadable).filter(|_| !error.is_connect());
    if let Some(what) = unreadable {
        let what = excerpt(&what, MAX_CHARS);
        return (Reason::Decode, format!("the answer cannot be read as HTTP: {what}"));
    }
    let is_closed = |error| io_kind(error) == Some(io::ErrorKind::UnexpectedEof);
    if error.is_connect() && chain(error).any(is_closed) {
        let closed = "the server closed the connection instead of speaking TLS: is the port right?";
        return (Reason::Connect, closed.to_owned());
    }
    (Reason::Connect, excerpt(&cause, MAX_CHARS))
}

/// Returns the local address of the connection that broke before the head of an answer was there;
/// `None` where the error is another.
pub fn broken_connection(error: &reqwest::Error) -> Option<SocketAddr> {
    let client = chain(error).find_map(|error| error.downcast_ref::<legacy::Error>())?;
    let is_other = |error: &(dyn Error + 'static)| {
        unreadable(error).is_some()
            // The connection lives, and the server has failed at this request.
            || error.downcast_ref::<h2::Error>().is_some_and(|error| {
                error.is_reset() && !error.reason().is_some_and(|reason| ABANDONED.contains(&reason))
            })
    };
    if client.is_connect() || chain(error).any(is_other) {
        return None;
    }
    let mut extensions = Extensions::new();
    client.connect_info()?.get_extras(&mut extensions);
    extensions.get::<HttpInfo>().map(HttpInfo::local_addr)
}

/// Iterates over an error and all that caused it.
fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| Error::source(*error))
}

/// Returns the error of rustls that an error is: bare, or in I/O errors, whose contents are not
/// their sources.
fn tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let io = error.downcast_ref::<io::Error>();
    let io = io.or_else(|| error.downcast_ref::<h2::Error>().and_then(h2::Error::get_io));
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

/// Returns why what came is no HTTP, if that is what an error says: a head or a frame that breaks
/// the rules, or a chunk without a size.
fn unreadable(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        // Without a cause and none of these it is the one that hyper has no name for: the server
        // spoke before it was asked.
        let is_other = error.source().is_some()
            || error.is_incomplete_message()
            || error.is_canceled()
            || error.is_closed()
            || error.is_shutdown()
            || error.is_timeout()
            || error.is_user();
        return (error.is_parse() || !is_other).then(|| error.to_string());
    }
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        return error.is_library().then(|| error.to_string());
    }
    let io = error.downcast_ref::<io::Error>()?;
    let kinds = [io::ErrorKind::InvalidData, io::ErrorKind::InvalidInput];
    (kinds.contains(&io.kind()) && tls_error(error).is_none()).then(|| io.to_string())
}
