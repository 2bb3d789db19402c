//! The conditions that need attention, for the banner on every page: each as a sentence, the time
//! since which it lasts, and what works in spite of it. Pure.

use std::time::Duration;

use super::format::{self, FormattedTime};
use crate::clock::Timestamp;
use crate::discovery::status::RefreshHistory;
use crate::observation::Reason;
use crate::poll::status::{CurrentPause, FailingPolls};
use crate::reload::status::{ConfigStatus, ProviderStatus, ReloadFailure};
use crate::schedule::admission::PauseReason;
use crate::storage::status::StorageFailure;
use crate::telemetry::provider::Lateness;

/// Maximum number of conditions on a page. An outage can concern hundreds of providers, and the
/// content of the page must not be far below.
const MAX_SHOWN: usize = 20;

/// Delay of late polls from which they count as stopped, as for the alert AITaskPollsStopped.
const STOPPED_AFTER: Duration = Duration::from_secs(300);

/// A condition that needs attention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// ID of the element, the same while the condition lasts.
    pub id: String,
    /// The condition as a sentence.
    pub sentence: String,
    /// Start of the condition.
    pub since: Option<FormattedTime>,
    /// Sentences about what is in force and what still works.
    pub effect: String,
    /// Text and target of a link to more about it.
    pub link: Option<(&'static str, String)>,
    /// Section of `docs/runbooks.md` about it.
    pub runbook: &'static str,
}

/// The first conditions, and the number of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The first of them: those of the whole exporter, then those of providers and sources.
    pub first: Vec<Condition>,
    /// Number of all.
    pub count: usize,
}

/// The status of the exporter's own work, from which conditions follow.
#[derive(Debug)]
pub struct ExporterStatus {
    /// The current time.
    pub now: Timestamp,
    /// The configuration.
    pub config: ConfigStatus,
    /// The refusal of the web configuration.
    pub web_config: Option<ReloadFailure>,
    /// The failure of the storage path.
    pub storage: Option<StorageFailure>,
    /// The providers.
    pub providers: Vec<ProviderStatus>,
    /// The sources of tasks, each with its mechanism and name.
    pub sources: Vec<(&'static str, String, RefreshHistory)>,
}

impl Conditions {
    /// Finds the conditions that follow from a status.
    pub fn find(status: &ExporterStatus) -> Self {
        let now = status.now;
        let mut all: Vec<_> = refused_reload(&status.config, now).into_iter().collect();
        all.extend(status.web_config.as_ref().map(|failure| refused_web_config(failure, now)));
        all.extend(status.storage.as_ref().map(|failure| failing_storage(failure, now)));
        all.extend(tasks_over_limit(&status.config, now));
        for (number, provider) in (1..).zip(&status.providers) {
            all.extend(of_provider(number, provider, now));
        }
        for (number, source) in (1..).zip(&status.sources) {
            all.extend(of_source(number, source, now));
        }
        let count = all.len();
        all.truncate(MAX_SHOWN);
        Self { first: all, count }
    }

    /// Returns the number of conditions that are not among the first.
    pub fn others(&self) -> usize {
        self.count.saturating_sub(self.first.len())
    }
}

fn refused_reload(config: &ConfigStatus, now: Timestamp) -> Option<Condition> {
    let failure = config.failure.as_ref()?;
    let first = failure.reason.lines().next().unwrap_or_default();
    Some(Condition {
        id: "condition-reload".to_owned(),
        sentence: format!("The configuration was not reloaded: {}.", ended(first)),
        since: Some(FormattedTime::new(failure.since, now)),
        effect: format!("The configuration loaded at {} is in force.", time(config.loaded, now)),
        link: Some(("All errors", "/#reload-error".to_owned())),
        runbook: "AITaskConfigReloadFailed",
    })
}

fn refused_web_config(failure: &ReloadFailure, now: Timestamp) -> Condition {
    let first = failure.reason.lines().next().unwrap_or_default();
    Condition {
        id: "condition-web-config".to_owned(),
        sentence: format!("The web configuration was not reloaded: {}.", ended(first)),
        since: Some(FormattedTime::new(failure.since, now)),
        effect: "Users and certificates are those that were in force before.".to_owned(),
        link: None,
        runbook: "AITaskConfigReloadFailed",
    }
}

fn failing_storage(failure: &StorageFailure, now: Timestamp) -> Condition {
    Condition {
        id: "condition-storage".to_owned(),
        sentence: format!("The storage path cannot be written: {}.", ended(&failure.reason)),
        since: Some(FormattedTime::new(failure.since, now)),
        effect: "The exporter polls on and shows what is in memory; a restart would lose what has \
                 changed since, and tasks that have finished since are not counted yet."
            .to_owned(),
        link: None,
        runbook: "AITaskExporterStorageDown",
    }
}

fn tasks_over_limit(config: &ConfigStatus, now: Timestamp) -> Option<Condition> {
    let over_limit = config.over_limit?;
    let count = number(over_limit.tasks, "task is", "tasks are");
    Some(Condition {
        id: "condition-max-tasks".to_owned(),
        sentence: format!("{count} left out: there are more than max_tasks."),
        since: Some(FormattedTime::new(over_limit.since, now)),
        effect: "The limit keeps no other task from being polled.".to_owned(),
        link: Some(("Configuration", "/config".to_owned())),
        runbook: "AITaskTasksDropped",
    })
}

/// Returns the conditions of a provider. A pause explains missing answers and late polls.
fn of_provider(number: usize, status: &ProviderStatus, now: Timestamp) -> Vec<Condition> {
    let polls = PollsOfProvider { number, status, name: format::short(&status.name), now };
    match polls.pause() {
        Some(pause) => vec![polls.paused(pause)],
        None => polls
            .failing()
            .map(|failing| polls.unanswered(failing))
            .into_iter()
            .chain(polls.late())
            .collect(),
    }
}

/// The polls of a provider, for sentences about them.
struct PollsOfProvider<'a> {
    number: usize,
    status: &'a ProviderStatus,
    name: String,
    now: Timestamp,
}

impl<'a> PollsOfProvider<'a> {
    /// Returns the pause, if it keeps polls back. Missing credentials keep those of future tasks back as
    /// well.
    fn pause(&self) -> Option<&'a CurrentPause> {
        let matters =
            |pause: &&CurrentPause| self.status.open > 0 || pause.reason == PauseReason::Unreadable;
        self.status.polls.pause.as_ref().filter(matters)
    }

    /// Returns the requests in a row without a usable answer. A single one after a usable answer is
    /// nothing unusual.
    fn failing(&self) -> Option<&'a FailingPolls> {
        let polls = &self.status.polls;
        let matters = |failing: &&FailingPolls| {
            self.status.open > 0 && (failing.count > 1 || polls.last_answer.is_none())
        };
        polls.failing.as_ref().filter(matters)
    }

    fn condition(
        &self,
        kind: &str,
        sentence: String,
        since: Timestamp,
        effect: String,
    ) -> Condition {
        Condition {
            id: format!("condition-{kind}-{}", self.number),
            sentence,
            since: Some(FormattedTime::new(since, self.now)),
            effect,
            link: Some(("Its tasks", format::tasks_link(&[("provider", &self.status.name)]))),
            runbook: "",
        }
    }

    fn paused(&self, pause: &CurrentPause) -> Condition {
        let (name, cause) = (&self.name, cause(pause));
        let until = upcoming(pause.until, self.now);
        let (sentence, next, runbook) = match pause.reason {
            PauseReason::Refused => (
                format!("The provider “{name}” is paused{cause}: it refuses the credentials."),
                format!("They are tried again {until}."),
                "AITaskCredentialsRejected",
            ),
            PauseReason::Unreadable => (
                format!("The provider “{name}” is paused: its credentials cannot be read{cause}."),
                format!("They are read again {until}; {} left out.", self.open_tasks()),
                "AITaskTasksDropped",
            ),
            PauseReason::RetryAfter => (
                format!(
                    "The provider “{name}” is paused{cause}, as it asked for with Retry-After."
                ),
                format!("Polls continue {until}."),
                self.runbook_of_requested_pause(),
            ),
        };
        let overdue = self
            .status
            .lateness
            .map(|late| format!(" Polls have been due for {}.", format::rough(late.delay)));
        let effect = format!("{next} {}{}", self.known(), overdue.unwrap_or_default());
        Condition { runbook, ..self.condition("paused", sentence, pause.since, effect) }
    }

    /// Returns the runbook for a pause with Retry-After, which any failure can have.
    fn runbook_of_requested_pause(&self) -> &'static str {
        match &self.status.polls.failing {
            Some(failing) if failing.failure.reason != Reason::RateLimited => "AITaskPollsStopped",
            _ => "AITaskRateLimited",
        }
    }

    fn unanswered(&self, failing: &FailingPolls) -> Condition {
        let failure = &failing.failure;
        let (name, detail) = (&self.name, ended(&failure.detail));
        let sentence = match failure.reason {
            Reason::NotFound => {
                format!("The provider “{name}” knows none of the tasks it is asked for: {detail}.")
            }
            reason => {
                format!(
                    "No poll of the provider “{name}” gets a usable answer: {detail} ({reason})."
                )
            }
        };
        let runbook = match failure.reason {
            Reason::NotFound => "AITaskNotFound",
            Reason::Auth => "AITaskCredentialsRejected",
            Reason::RateLimited => "AITaskRateLimited",
            _ => "AITaskProviderDown",
        };
        let effect = format!("Polls go on. {}", self.known());
        Condition { runbook, ..self.condition("unanswered", sentence, failing.since, effect) }
    }

    /// Returns the delay of late polls, if anything is still polled.
    fn lateness(&self) -> Option<Lateness> {
        self.status.lateness.filter(|_| self.status.open > 0)
    }

    fn late(&self) -> Option<Condition> {
        let late = self.lateness()?;
        let delay = format::rough(late.delay);
        let sentence =
            format!("Polls of the provider “{}” are late, the first by {delay}.", self.name);
        let effect =
            format!("Polls go on as fast as its limits and its answers allow. {}", self.known());
        let runbook = match late.delay >= STOPPED_AFTER {
            true => "AITaskPollsStopped",
            false => "AITaskPollsLate",
        };
        let since = self.now - late.lasts;
        Some(Condition { runbook, ..self.condition("late", sentence, since, effect) })
    }

    /// Returns a sentence about what is known of the tasks.
    fn known(&self) -> String {
        match self.status.polls.last_answer {
            Some(at) => {
                let at = FormattedTime::new(at, self.now);
                format!("Its tasks are shown as they were; its last usable answer came {}.", at.ago)
            }
            None => "It has given no usable answer since the start of the exporter.".to_owned(),
        }
    }

    fn open_tasks(&self) -> String {
        number(self.status.open, "open task is", "open tasks are")
    }
}

/// Returns the state of a provider's polls in a few words, if it needs attention.
pub fn describe_trouble(status: &ProviderStatus, now: Timestamp) -> Option<String> {
    let polls = PollsOfProvider { number: 0, status, name: String::new(), now };
    let clock = |at| format::clock(at, now);
    if let Some(pause) = polls.pause() {
        let (cause, until) = (cause(pause), clock(pause.until));
        return Some(match pause.reason {
            PauseReason::Refused => format!("paused{cause} until {until}"),
            PauseReason::RetryAfter => format!("paused{cause} until {until} (Retry-After)"),
            PauseReason::Unreadable => format!("paused, no credentials, until {until}"),
        });
    }
    if let Some(failing) = polls.failing() {
        let detail = in_a_few_words(&failing.failure.detail);
        return Some(format!("no usable answer since {}: {detail}", clock(failing.since)));
    }
    polls.lateness().map(|late| format!("late by {}", format::rough(late.delay)))
}

/// Returns the cause of a pause as a part of a sentence.
fn cause(pause: &CurrentPause) -> String {
    match (pause.reason, &*pause.cause) {
        (_, "") => String::new(),
        (PauseReason::Unreadable, cause) => format!(": {}", ended(cause)),
        (_, cause) => format!(" after {}", in_a_few_words(cause)),
    }
}

/// Shortens the details of a failure.
fn in_a_few_words(detail: &str) -> String {
    let detail = ended(detail);
    let detail = detail.split(" (os error ").next().unwrap_or_default();
    let Some(rest) = detail.strip_prefix("HTTP status ") else {
        return detail.to_owned();
    };
    match rest.split_once(", code ") {
        // Many gateways repeat the status in the body.
        Some((status, code)) if status == code => format!("HTTP {status}"),
        _ => format!("HTTP {rest}"),
    }
}

fn of_source(
    number_of_source: usize,
    (mechanism, name, history): &(&'static str, String, RefreshHistory),
    now: Timestamp,
) -> Vec<Condition> {
    let name = format::short(name);
    let link = Some(("Its errors", format!("/service-discovery#source-{number_of_source}")));
    let discovered = number(history.discovered, "task", "tasks");
    let failing = history.error.as_ref().map(|error| Condition {
        id: format!("condition-source-{number_of_source}"),
        sentence: format!(
            "The source “{name}” ({mechanism}) of tasks fails: {} ({}).",
            ended(&error.message),
            error.reason.as_str()
        ),
        since: Some(FormattedTime::new(error.since, now)),
        effect: match (history.last_success, history.discovered) {
            (Some(at), _) => {
                format!("Its last good list, of {}, is in force: {discovered}.", time(at, now))
            }
            (None, 0) => "It has given no list since the start of the exporter; tasks that are \
                          known from before are polled on."
                .to_owned(),
            (None, _) => format!("A part of its list is in force: {discovered}."),
        },
        link: link.clone(),
        runbook: "AITaskDiscoveryFailing",
    });
    let rejected = history.rejected.total();
    let reasons = history.rejected.counts().filter(|(_, count)| *count > 0);
    let reasons: Vec<_> = reasons.map(|(reason, count)| format!("{reason} {count}")).collect();
    let left_out = (rejected > 0).then(|| Condition {
        id: format!("condition-rejected-{number_of_source}"),
        sentence: format!(
            "{} left out of the list of “{name}” ({mechanism}): {}.",
            number(rejected, "element is", "elements are"),
            reasons.join(", ")
        ),
        since: history.rejected_since.map(|at| FormattedTime::new(at, now)),
        effect: format!("The others count: {discovered}."),
        link,
        runbook: "AITaskTasksRejected",
    });
    failing.into_iter().chain(left_out).collect()
}

/// Formats a time within a sentence.
fn time(at: Timestamp, now: Timestamp) -> String {
    let FormattedTime { iso, ago } = FormattedTime::new(at, now);
    format!("{iso} ({ago})")
}

/// Formats the time of the next attempt, which may have begun.
fn upcoming(at: Timestamp, now: Timestamp) -> String {
    match at.since(now) < Duration::from_secs(1) {
        true => "now".to_owned(),
        false => format!("at {} ({})", format::clock(at, now), FormattedTime::new(at, now).ago),
    }
}

fn number(count: usize, one: &str, many: &str) -> String {
    let noun = if count == 1 { one } else { many };
    format!("{} {noun}", format::count(count))
}

/// Escapes and shortens a text for the inside of a sentence.
fn ended(text: &str) -> String {
    format::excerpt(text.trim().trim_end_matches(['.', ':']))
}

#[cfg(test)]
pub(super) mod tests;
