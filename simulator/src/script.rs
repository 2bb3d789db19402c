//! What a task does when it is asked for, as the control API takes it.

use std::num::NonZeroU64;
use std::time::Duration;

use jiff::SignedDuration;
use serde::de::{Deserialize, Deserializer, Error};

use super::fault::Fault;
use super::life::{Status, Step};
use super::text::Text;
use super::wire::slip::Slip;

/// The longest time a script can name: keeps every moment that follows from it a valid date.
const MAX_SECONDS: f64 = 100.0 * 366.0 * 86_400.0;

/// The script of one task.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// How long before the script was set the life began; negative where the gateway's clock
    /// runs ahead. Without it the life begins when the task is first asked for.
    #[serde(rename = "enqueued_seconds_ago", deserialize_with = "ago")]
    pub enqueued_ago: Option<SignedDuration>,
    /// The life, first step first.
    #[serde(deserialize_with = "steps")]
    pub steps: Vec<Step>,
    /// What goes wrong.
    #[serde(rename = "fault")]
    pub trouble: Option<Trouble>,
    /// The trouble strikes only every n-th request of the task.
    #[serde(rename = "fault_every")]
    pub trouble_every: Option<NonZeroU64>,
    /// A body to answer in place of the one that the life asks for; in an answer about several
    /// tasks, the element.
    pub answer: Option<Text>,
    /// How long to wait before answering, in milliseconds.
    #[serde(rename = "delay_ms", deserialize_with = "millis")]
    pub delay: Duration,
}

/// What can go wrong: in what the gateway says, or on the way.
#[derive(Debug, serde::Deserialize)]
#[serde(untagged, expecting = "no such fault, or a field of it is missing or wrong")]
pub enum Trouble {
    /// The gateway says something else.
    Slip(Slip),
    /// The network spoils what it says.
    Fault(Fault),
}

impl Script {
    /// The trouble that strikes the `number`-th request, counted from one.
    pub fn trouble(&self, number: u64) -> Option<&Trouble> {
        let strikes = self.trouble_every.is_none_or(|every| number.is_multiple_of(every.get()));
        self.trouble.as_ref().filter(|_| strikes)
    }
}

fn ago<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SignedDuration>, D::Error> {
    let seconds = Option::<f64>::deserialize(deserializer)?;
    if seconds.is_some_and(|seconds| seconds.abs() > MAX_SECONDS) {
        return Err(D::Error::custom("enqueued_seconds_ago: at most 100 years"));
    }
    seconds.map(SignedDuration::try_from_secs_f64).transpose().map_err(D::Error::custom)
}

fn steps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Step>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        status: Status,
        seconds: Option<f64>,
    }
    let step = |Written { status, seconds }| {
        let lasts = seconds.map(Duration::try_from_secs_f64).transpose();
        Ok(Step { status, lasts: lasts.map_err(D::Error::custom)? })
    };
    Vec::<Written>::deserialize(deserializer)?.into_iter().map(step).collect()
}

fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}
