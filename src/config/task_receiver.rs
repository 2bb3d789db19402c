//! Settings of the registrations by applications.

use std::time::Duration;

use super::raw::RawTaskReceiver;
use super::validate::{Validator, count};
use crate::yaml::diagnostic::{Diagnostic, Diagnostics};
use crate::yaml::scalar::PublicText;
use crate::yaml::span::{Location, Spanned};

/// The settings of the registrations by applications.
#[derive(Debug)]
pub struct TaskReceiverConfig {
    /// Maximum number of open tasks that are registered; at least 1.
    pub limit: usize,
    /// Time for which a registration lasts that names no other; at most `max_ttl`.
    pub ttl: Duration,
    /// Longest time for which a registration can last; above zero.
    pub max_ttl: Duration,
    /// The users that may register tasks; `None` if every client may.
    pub users: Option<ReceiverUsers>,
}

/// The users of the web configuration that may register tasks.
#[derive(Debug)]
pub struct ReceiverUsers {
    /// Their names; at least one.
    pub names: Vec<Box<str>>,
    /// The place where they are written.
    location: Location,
    /// The error where there is no web configuration, so that no client has a name.
    pub(super) without_web_config: Diagnostics,
}

impl TaskReceiverConfig {
    /// The default of `limit`.
    pub const DEFAULT_LIMIT: usize = 100_000;
    /// The default of `ttl`.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(86_400);
    /// The default of `max_ttl`.
    pub const DEFAULT_MAX_TTL: Duration = Duration::from_secs(30 * 86_400);

    /// Validates the section.
    pub(super) fn new(validator: &Validator<'_>, section: &Spanned<RawTaskReceiver>) -> Self {
        let default = RawTaskReceiver::default();
        let raw = section.get().unwrap_or(&default);
        let ttl = validator.positive(&raw.ttl, Self::DEFAULT_TTL);
        let max_ttl = validator.positive(&raw.max_ttl, Self::DEFAULT_MAX_TTL);
        if let Some(location) = raw.ttl.location.or(raw.max_ttl.location)
            && ttl > max_ttl
        {
            let message = "ttl must not be longer than max_ttl";
            let hint = "ttl is 1d, and max_ttl 30d, where it is not written";
            validator.report(Diagnostic::new(location, message).hint(hint));
        }
        let users = raw.users.located();
        let users = users.map(|(location, users)| ReceiverUsers::new(validator, location, users));
        Self { limit: count(&raw.limit, Self::DEFAULT_LIMIT), ttl, max_ttl, users }
    }
}

impl ReceiverUsers {
    fn new(validator: &Validator<'_>, location: Location, users: &[Spanned<PublicText>]) -> Self {
        if users.is_empty() {
            let diagnostic = Diagnostic::new(location, "users must not be empty");
            validator.report(diagnostic.hint("without users, every client may register tasks"));
        }
        let names = users.iter().filter_map(|name| Some(name.get()?.0.clone())).collect();
        Self { names, location, without_web_config: Diagnostics::default() }
    }

    /// Returns the error where there is no web configuration.
    pub(super) fn missing_web_config(&self) -> Diagnostic {
        Diagnostic::new(self.location, "users needs --web.config.file")
            .hint("its basic_auth_users are the users, and without it no client has a name")
    }
}
