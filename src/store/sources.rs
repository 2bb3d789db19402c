//! The registry of the sources of tasks: their settings, and when each gave its last list.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::discovery::SourceConfig;
use crate::listing::{Listing, SourceId};
use crate::record::Newness;

/// The key of the configuration.
pub const CONFIG: &str = "config";
/// The key of the registrations by applications.
pub const REGISTRATION: &str = "registration";

/// The settings of a source that the life of its tasks depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    /// Mechanism and name, with a slash between them: unique, and the same in every life.
    pub key: Arc<str>,
    /// Time for which a task is followed that the source no longer names.
    pub keep_unlisted: Duration,
    /// Time between two lists.
    pub refresh_interval: Duration,
}

impl SourceSettings {
    /// Returns the settings of a source.
    pub fn of(source: &SourceConfig) -> Self {
        Self {
            key: source.key(),
            keep_unlisted: source.keep_unlisted,
            refresh_interval: source.refresh_interval,
        }
    }
}

/// The registry of all sources of this life of the process.
#[derive(Debug)]
pub struct SourceRegistry {
    /// The sources by number; the first are the configuration and the registrations.
    entries: Vec<SourceEntry>,
    /// Time for which tasks are followed of sources that the configuration does not have.
    default_keep: Duration,
    by_key: HashMap<Arc<str>, SourceId>,
}

#[derive(Debug)]
struct SourceEntry {
    settings: SourceSettings,
    /// Position in the order of precedence; `None` if the configuration no longer has the source.
    rank: Option<u32>,
    /// Time of the last list in this life.
    last_list: Option<Timestamp>,
    /// True if a list of this life has named a task.
    has_named_tasks: bool,
}

/// The way in which a list is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListTiming {
    /// True if the source has given no list before in this life.
    pub is_first: bool,
    /// The knowledge about tasks that the list before did not have; `None` for a first list.
    pub newness: Option<Newness>,
}

/// The keys of the sources at one moment, by their numbers, each with its position in the order of
/// precedence.
#[derive(Clone, Debug, Default)]
pub struct SourceKeys(Vec<(u32, Arc<str>)>);

impl SourceKeys {
    /// Returns the keys of the sources that list a task, in the order of precedence.
    pub fn listing(&self, listing: &Listing) -> Vec<&str> {
        let current = listing.sources().filter(|(_, is_current)| *is_current);
        let mut keys: Vec<_> =
            current.filter_map(|(source, _)| self.0.get(super::to_index(source.0))).collect();
        keys.sort();
        keys.into_iter().map(|(_, key)| &**key).collect()
    }
}

impl Default for SourceRegistry {
    /// Creates a registry of the sources that there always are.
    fn default() -> Self {
        let (entries, default_keep, by_key) = (Vec::new(), Duration::ZERO, HashMap::new());
        let mut registry = Self { entries, default_keep, by_key };
        registry.number(CONFIG.into());
        registry.number(REGISTRATION.into());
        registry
    }
}

impl SourceRegistry {
    /// Returns the number of the source with this key, which it gets if it has none.
    pub fn number(&mut self, key: Arc<str>) -> SourceId {
        if let Some(id) = self.by_key.get(&key) {
            return *id;
        }
        let id = SourceId(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        self.by_key.insert(Arc::clone(&key), id);
        let (keep_unlisted, refresh_interval) = (self.default_keep, Duration::ZERO);
        let settings = SourceSettings { key, keep_unlisted, refresh_interval };
        let (rank, last_list, has_named_tasks) = (None, None, false);
        self.entries.push(SourceEntry { settings, rank, last_list, has_named_tasks });
        id
    }

    /// Applies the settings of `config`, which are those of registrations as well, and of the sources
    /// of a configuration in their order of precedence. Sources that are not among them keep their
    /// settings; those of an earlier life that get a number later have the `keep_unlisted` of `config`.
    pub fn configure(&mut self, config: &SourceSettings, sources: &[SourceSettings]) {
        self.default_keep = config.keep_unlisted;
        for entry in &mut self.entries {
            entry.rank = None;
        }
        let registration = SourceSettings { key: REGISTRATION.into(), ..config.clone() };
        let all = [config, &registration].into_iter().chain(sources);
        for (rank, settings) in (0..).zip(all) {
            let id = self.number(Arc::clone(&settings.key));
            if let Some(entry) = self.entry_mut(id) {
                (entry.settings, entry.rank) = (settings.clone(), Some(rank));
            }
        }
    }

    /// Returns the sources that the configuration does not have: those of earlier lives, and those
    /// that have left it.
    pub fn unconfigured(&self) -> Vec<SourceId> {
        self.ids().filter(|id| !self.is_configured(*id)).collect()
    }

    /// Returns the key of a source.
    pub fn key(&self, id: SourceId) -> Arc<str> {
        self.entry(id).map(|entry| Arc::clone(&entry.settings.key)).unwrap_or_default()
    }

    /// Returns the position of a source in the order of precedence.
    pub fn rank(&self, id: SourceId) -> u32 {
        self.entry(id).and_then(|entry| entry.rank).unwrap_or(u32::MAX)
    }

    /// Returns the time for which a task is followed that the source no longer names.
    pub fn keep_unlisted(&self, id: SourceId) -> Duration {
        self.entry(id).map(|entry| entry.settings.keep_unlisted).unwrap_or_default()
    }

    /// Reports whether a source has given a list in this life.
    pub fn has_list(&self, id: SourceId) -> bool {
        self.entry(id).is_some_and(|entry| entry.last_list.is_some())
    }

    /// Records that a source gives a list at `now`, which names tasks or none. Returns the way in
    /// which the list is applied.
    pub fn begin_list(&mut self, id: SourceId, names_tasks: bool, now: Timestamp) -> ListTiming {
        let Some(entry) = self.entry_mut(id) else {
            return ListTiming { is_first: true, newness: None };
        };
        let needs_time = !entry.has_named_tasks;
        let interval = entry.settings.refresh_interval;
        let since = entry.last_list.replace(now).map(|before| before - interval);
        entry.has_named_tasks |= names_tasks;
        let newness = since.map(|since| Newness { since, needs_time });
        ListTiming { is_first: newness.is_none(), newness }
    }

    /// Returns the keys of all sources.
    pub fn keys(&self) -> SourceKeys {
        let key = |id| (self.rank(id), self.key(id));
        SourceKeys(self.ids().map(key).collect())
    }

    fn ids(&self) -> impl Iterator<Item = SourceId> + use<> {
        let count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        (0..count).map(SourceId)
    }

    fn is_configured(&self, id: SourceId) -> bool {
        self.entry(id).is_some_and(|entry| entry.rank.is_some())
    }

    fn entry(&self, id: SourceId) -> Option<&SourceEntry> {
        self.entries.get(super::to_index(id.0))
    }

    fn entry_mut(&mut self, id: SourceId) -> Option<&mut SourceEntry> {
        self.entries.get_mut(super::to_index(id.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::Claim;
    use crate::task::TaskCommon;

    #[test]
    fn the_keys_of_a_listing_are_in_the_order_of_precedence() {
        let mut registry = SourceRegistry::default();
        let settings = |key: &str| SourceSettings {
            key: key.into(),
            keep_unlisted: Duration::ZERO,
            refresh_interval: Duration::ZERO,
        };
        let [files, http] = ["file/a", "http/b"].map(|key| registry.number(key.into()));
        registry.configure(&settings(CONFIG), &[settings("http/b"), settings("file/a")]);
        let common =
            Arc::new(TaskCommon { provider: "p".into(), labels: [].into(), params: [].into() });
        let claim = |source| Claim {
            source,
            is_current: true,
            common: Arc::clone(&common),
            enqueue_time: None,
            ends: None,
        };
        let mut listing = Listing::One(files);
        let keys = registry.keys();
        assert_eq!(keys.listing(&listing), ["file/a"]);
        for source in [http, SourceId::CONFIG] {
            listing.claim(claim(source), &common, |source| registry.rank(source));
        }
        assert_eq!(keys.listing(&listing), ["config", "http/b", "file/a"]);
        let now = Timestamp::from_micros(0);
        for (source, left) in [(http, &["config", "file/a"][..]), (files, &["config"])] {
            listing.leave(source, &common, now, |source| registry.rank(source));
            assert_eq!(keys.listing(&listing), left);
        }
        listing.leave(SourceId::CONFIG, &common, now, |source| registry.rank(source));
        assert_eq!(keys.listing(&listing), [""; 0]);
    }
}
