//! `/service-discovery`: the sources of tasks, their last refresh, and the elements that they reject.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::format::{self, FormattedTime};
use super::{PageHead, RenderedPage, ok_page, render};
use crate::clock::Timestamp;
use crate::config::task_receiver::TaskReceiverConfig;
use crate::discovery::list::RejectedElement;
use crate::discovery::status::{CurrentError, SourceStatus};
use crate::duration;
use crate::web::WebState;
use crate::web::middleware::RequestPermit;
use crate::web::query;

#[derive(Template)]
#[template(path = "discovery.html")]
struct DiscoveryPage<'a> {
    head: PageHead<'a>,
    sources: Vec<SourceSection>,
    registrations: Option<RegistrationsLine>,
}

/// The registrations by applications, and their settings.
struct RegistrationsLine {
    open: String,
    limit: String,
    ttl: String,
    max_ttl: String,
}

/// A source as a row of the table, and as a section below if it needs attention.
struct SourceSection {
    /// Fragment of the link from the row to the section.
    anchor: String,
    mechanism: &'static str,
    name: String,
    discovered: String,
    rejected: String,
    last_try: Option<FormattedTime>,
    last_success: Option<FormattedTime>,
    next_try: Option<FormattedTime>,
    took: String,
    error: Option<FormattedError>,
    /// Numbers of rejected elements by reason, without zeros.
    reasons: Vec<String>,
    /// The first rejected elements.
    elements: Vec<RejectedRow>,
    /// True if more elements are rejected than are shown.
    is_cut: bool,
}

impl SourceSection {
    /// Reports whether the source has a section.
    fn needs_attention(&self) -> bool {
        self.error.is_some() || !self.reasons.is_empty()
    }
}

/// The error of the last refresh.
struct FormattedError {
    reason: &'static str,
    message: String,
    since: FormattedTime,
}

/// A rejected element.
struct RejectedRow {
    element: String,
    reason: &'static str,
    message: String,
}

/// Returns the page.
pub async fn page(
    State(web): State<Arc<WebState>>,
    Extension(permit): Extension<RequestPermit>,
    RawQuery(query): RawQuery,
) -> Response {
    let refused = |message: &str| (StatusCode::BAD_REQUEST, format!("{message}\n")).into_response();
    match query::parse_pairs(&query.unwrap_or_default()) {
        Ok(pairs) if pairs.is_empty() => {
            render(web.compute_permits.clone(), permit, move || render_sources(&web)).await
        }
        Ok(_) => refused("this page takes no parameters"),
        Err(message) => refused(&message),
    }
}

fn render_sources(web: &WebState) -> RenderedPage {
    let now = web.manager.now();
    let statuses = web.manager.sources.all();
    let sources = (1..).zip(&statuses).map(|(number, status)| section(number, status, now));
    let registrations = web.manager.has_task_receiver().then(|| {
        let config = web.manager.config();
        RegistrationsLine::new(web.manager.store.registered_count(), &config.task_receiver)
    });
    ok_page(&DiscoveryPage { head: PageHead::new(web), sources: sources.collect(), registrations })
}

impl RegistrationsLine {
    fn new(open: usize, settings: &TaskReceiverConfig) -> Self {
        Self {
            open: format::count(open),
            limit: format::count(settings.limit),
            ttl: duration::format(settings.ttl),
            max_ttl: duration::format(settings.max_ttl),
        }
    }
}

fn section(number: usize, status: &SourceStatus, now: Timestamp) -> SourceSection {
    let history = status.history();
    let time = |at: Option<Timestamp>| at.map(|at| FormattedTime::new(at, now));
    let rejected = &history.rejected;
    let reasons = rejected.counts().filter(|(_, number)| *number > 0);
    SourceSection {
        anchor: format!("source-{number}"),
        mechanism: status.mechanism().as_str(),
        name: format::escape(status.name()),
        discovered: format::count(history.discovered),
        rejected: format::count(rejected.total()),
        last_try: time(history.last_try),
        last_success: time(history.last_success),
        next_try: history.next_try.map(|at| next_try(at, now)),
        took: history.duration.map(format::exact).unwrap_or_default(),
        error: history.error.as_ref().map(|error| formatted(error, now)),
        reasons: reasons
            .map(|(reason, number)| format!("{reason} {}", format::count(number)))
            .collect(),
        elements: rejected.first().iter().map(row).collect(),
        is_cut: rejected.total() > rejected.first().len(),
    }
}

/// Formats the time of the next refresh, which may have begun.
fn next_try(at: Timestamp, now: Timestamp) -> FormattedTime {
    let formatted = FormattedTime::new(at, now);
    match at.since(now) < Duration::from_secs(1) {
        true => FormattedTime { ago: "now".to_owned(), ..formatted },
        false => formatted,
    }
}

fn formatted(error: &CurrentError, now: Timestamp) -> FormattedError {
    FormattedError {
        reason: error.reason.as_str(),
        message: format::escape(&error.message),
        since: FormattedTime::new(error.since, now),
    }
}

fn row(rejected: &RejectedElement) -> RejectedRow {
    RejectedRow {
        element: format::short(&rejected.element),
        reason: rejected.reason.as_str(),
        message: format::escape(&rejected.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::discovery::Mechanism;
    use crate::discovery::list::{RefreshError, RefreshReason, RejectReason, Rejections};
    use crate::discovery::status::ListSummary;
    use crate::telemetry::Telemetry;
    use crate::web::pages::conditions::tests::green;

    const START: Timestamp = Timestamp::from_micros(1_750_000_000_000_000);

    fn after(seconds: u64) -> Timestamp {
        START + Duration::from_secs(seconds)
    }

    /// Returns the page at 100 s.
    fn page(statuses: &[SourceStatus]) -> String {
        let head = PageHead::of("/metrics", &green(after(100)));
        let sources =
            (1..).zip(statuses).map(|(number, status)| section(number, status, after(100)));
        DiscoveryPage { head, sources: sources.collect(), registrations: None }.render().unwrap()
    }

    /// Returns the text of the page without tags.
    fn text(page: &str) -> String {
        let pieces = page.split('<').filter_map(|piece| Some(piece.split_once('>')?.1));
        pieces.collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn rejections(count: usize) -> Rejections {
        let mut rejected = Rejections::default();
        for number in 0..count {
            let reason = if number == 0 { RejectReason::Labels } else { RejectReason::Id };
            rejected.add(reason, || RejectedElement {
                element: format!("<script>{number}\u{202e}"),
                reason,
                message: format!("element {number}: \"labels\" & more"),
            });
        }
        rejected
    }

    #[test]
    fn a_source_that_is_well_has_a_row_alone() {
        let telemetry = Telemetry::new();
        let status = SourceStatus::new(Mechanism::Http, "orders", &telemetry);
        let never = page(&[SourceStatus::new(Mechanism::File, "cron", &telemetry)]);
        assert!(text(&never).contains("file cron 0 0 never never"), "{never}");
        let list = Some(ListSummary::default());
        status.record_refresh(list, None, after(90), Duration::from_millis(1_250));
        status.set_next_try(after(150));
        let page = page(&[status]);
        let row = "http orders 0 0 2025-06-15T15:08:10Z (10s ago) 2025-06-15T15:08:10Z (10s ago) \
                   in 50s 1.2s";
        assert!(text(&page).contains(row), "{}", text(&page));
        assert!(!page.contains("<h2") && !page.contains("bad\""), "{page}");
        assert_eq!(next_try(after(100), after(101)).ago, "now");
        assert_eq!(next_try(after(103), after(101)).ago, "in 2s");
    }

    #[test]
    fn an_error_and_the_first_rejected_elements_are_shown_and_escaped() {
        let telemetry = Telemetry::new();
        let status = SourceStatus::new(Mechanism::File, "c<r>on", &telemetry);
        let list = ListSummary { rejected: rejections(1_101), ..ListSummary::default() };
        status.record_refresh(Some(list), None, after(10), Duration::from_millis(4));
        let error = RefreshError::new(RefreshReason::Read, "cannot read <a&b>\n.json");
        for seconds in [40, 70] {
            status.record_refresh(None, Some(&error), after(seconds), Duration::ZERO);
        }
        let page = page(&[status]);
        // The only script is that of every page.
        assert_eq!(page.matches("<script").count(), 1, "{page}");
        assert!(!page.contains('\u{202e}'), "{page}");
        assert!(page.contains("<td class=\"id\">&#60;script&#62;0\\u{202e}</td>"), "{page}");
        let text = text(&page);
        for part in [
            "file c&#60;r&#62;on 0 1,101 failed 2025-06-15T15:07:50Z (30s ago) \
             2025-06-15T15:06:50Z (1m30s ago)",
            "read: cannot read &#60;a&#38;b&#62;\\n.json Failing since 2025-06-15T15:07:20Z (1m ago)",
            "Rejected elements by reason: id 1,100, labels 1. The first 100:",
            "labels element 0: &#34;labels&#34; &#38; more",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert_eq!(page.matches("&#60;script&#62;").count(), 100);
        assert!(page.contains("<a href=\"#source-1\">") && page.contains("<h2 id=\"source-1\">"));
    }

    #[test]
    fn registrations_have_a_line_where_they_are_enabled() {
        let settings = TaskReceiverConfig {
            limit: 100_000,
            ttl: Duration::from_secs(7_200),
            max_ttl: Duration::from_secs(86_400),
            users: None,
        };
        let head = PageHead::of("/metrics", &green(after(100)));
        let registrations = Some(RegistrationsLine::new(1_234, &settings));
        let page = DiscoveryPage { head, sources: Vec::new(), registrations }.render().unwrap();
        let line = "Applications have registered 1,234 open tasks, of at most 100,000. A registration \
                    ends after 2h unless it names another time, up to 1d.";
        assert!(text(&page).contains(line), "{}", text(&page));
    }

    #[test]
    fn a_configuration_without_sources_says_so() {
        assert!(text(&page(&[])).contains("The configuration has no sources of tasks"));
    }
}
