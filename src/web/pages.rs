//! The pages for people. What they have in common: `templates/base.html`, and how they are
//! answered.

mod details;
mod failures;
pub mod landing;
mod link;
mod format;
pub mod task;
pub mod tasks;
mod ranking;

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use super::Web;
use super::compute_turns::Turns;
use super::limit::Permit;

/// What stands on top of each page.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Of the program.
    pub version: &'static str,
    /// Where the metrics are.
    pub telemetry_path: &'a str,
}

impl<'a> Head<'a> {
    /// What `web` has on top of its pages.
    pub fn new(web: &'a Web) -> Self {
        Self { version: env!("CARGO_PKG_VERSION"), telemetry_path: &web.telemetry_path }
    }
}

/// A page, and the status that it is answered with.
pub type Page = (StatusCode, askama::Result<String>);

/// The page of a template.
pub fn ok(template: &impl Template) -> Page {
    (StatusCode::OK, template.render())
}

/// Answers with what `make` makes, in its turn, on a thread where that may take a while: with a
/// million tasks it does.
pub async fn answer(
    turns: Turns,
    permit: Permit,
    make: impl FnOnce() -> Page + Send + 'static,
) -> Response {
    let make = move || {
        let _permit = permit;
        let _turn = turns.take();
        make()
    };
    let error = match tokio::task::spawn_blocking(make).await {
        Ok((status, Ok(page))) => {
            return (status, Html(page)).into_response();
        }
        Ok((_, Err(error))) => error.to_string(),
        Err(error) => error.to_string(),
    };
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn a_reader_who_goes_away_does_not_make_room_for_the_next() {
        let permits = Arc::new(Semaphore::new(1));
        let (go_on, wait) = mpsc::channel::<()>();
        let (tell, begun) = tokio::sync::oneshot::channel();
        let make = move || {
            let _ = tell.send(());
            let _ = wait.recv();
            (StatusCode::OK, Ok(String::new()))
        };
        let reading = tokio::spawn(answer(Turns::new(), Permit::take(&permits).unwrap(), make));
        begun.await.unwrap();
        reading.abort();
        assert!(reading.await.unwrap_err().is_cancelled());
        assert!(Permit::take(&permits).is_none(), "its page is still being made");
        go_on.send(()).unwrap();
        assert!(permits.acquire().await.is_ok());
    }
}
