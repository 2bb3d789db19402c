//! The listing of a task: the sources that name it, and since when none does. Pure.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::task::TaskCommon;

/// Maximum number of claims of a task, those of sources that no longer name it included. Sources
/// that are renamed again and again must not add claims without end.
const MAX_CLAIMS: usize = 16;

/// The number of a source of tasks in the store's registry. Another life of the process may give
/// the source another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub(crate) u32);

impl SourceId {
    /// The `tasks` and `task_files` of the configuration.
    pub const CONFIG: Self = Self(0);
    /// The registrations by applications.
    pub const REGISTRATION: Self = Self(1);
}

/// The statement of a source that a task exists, with the properties that the source gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The source.
    pub source: SourceId,
    /// True if the source's last good list names the task.
    pub is_current: bool,
    /// Provider, labels and params by this source.
    pub common: Arc<TaskCommon>,
    /// The time of enqueueing, if the source gives one.
    pub enqueue_time: Option<Timestamp>,
    /// The time at which the claim ends by itself, as a registration does.
    pub ends: Option<Timestamp>,
}

/// The sources that name a task, or named it before. Small for the common case of a single source:
/// a million tasks have one each.
#[derive(Clone, Debug, PartialEq)]
pub enum Listing {
    /// One source names the task, with the properties that the task has; no other ever did.
    One(SourceId),
    /// Any other case.
    Many(Box<Claims>),
}

/// The claims of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// At most one claim of each source, in the order in which they came.
    claims: Vec<Claim>,
    /// Time since which no source names the task; `None` while one does.
    unlisted_since: Option<Timestamp>,
}

impl Listing {
    /// Creates a listing from the first claim of a task.
    pub fn of(claim: Claim) -> Self {
        match claim.ends {
            None => Self::One(claim.source),
            Some(_) => Self::restore(vec![claim], None),
        }
    }

    /// Creates a listing from stored claims.
    pub fn restore(claims: Vec<Claim>, unlisted_since: Option<Timestamp>) -> Self {
        Self::Many(Box::new(Claims { claims, unlisted_since })).simplified()
    }

    /// Reports whether a source names the task.
    pub fn is_listed(&self) -> bool {
        self.unlisted_since().is_none()
    }

    /// Returns the time since which no source names the task; `None` while one does.
    pub fn unlisted_since(&self) -> Option<Timestamp> {
        match self {
            Self::One(_) => None,
            Self::Many(claims) => claims.unlisted_since,
        }
    }

    /// Returns the sources that name the task, or named it before, and which of both is true.
    pub fn sources(&self) -> impl Iterator<Item = (SourceId, bool)> {
        let (one, many) = match self {
            Self::One(source) => (Some((*source, true)), [].as_slice()),
            Self::Many(claims) => (None, claims.claims.as_slice()),
        };
        one.into_iter().chain(many.iter().map(|claim| (claim.source, claim.is_current)))
    }

    /// Returns the time at which the task's registration ends; `None` if it has none.
    pub fn registered_until(&self) -> Option<Timestamp> {
        let Self::Many(claims) = self else { return None };
        let is_registration =
            |claim: &&Claim| claim.is_current && claim.source == SourceId::REGISTRATION;
        claims.claims.iter().find(is_registration)?.ends
    }

    /// Reports whether nothing but the configuration ever named the task.
    pub fn is_only_configured(&self) -> bool {
        self.sources().all(|(source, _)| source == SourceId::CONFIG)
    }

    /// Returns the longest time that `keep` gives for a source of the task.
    pub fn longest(&self, keep: impl Fn(SourceId) -> Duration) -> Duration {
        self.sources().map(|(source, _)| keep(source)).max().unwrap_or_default()
    }

    /// Reports whether `claim` is known already. `common` is that of the task. The enqueue time of
    /// the only source is in the task's record, and not compared here.
    pub fn has(&self, claim: &Claim, common: &TaskCommon) -> bool {
        match self {
            Self::One(source) => *source == claim.source && *claim.common == *common,
            Self::Many(claims) => claims.claims.contains(claim),
        }
    }

    /// Adds a claim, or replaces that of the same source. `common` is that of the task until now.
    /// Returns the claim that gives the task its properties: the first by `rank`.
    pub fn claim(
        &mut self,
        claim: Claim,
        common: &Arc<TaskCommon>,
        rank: impl Fn(SourceId) -> u32,
    ) -> Claim {
        let claims = self.expand(common);
        claims.unlisted_since = None;
        claims.claims.retain(|other| other.source != claim.source);
        if claims.claims.len() >= MAX_CLAIMS {
            let at = claims.claims.iter().position(|other| !other.is_current).unwrap_or(0);
            claims.claims.remove(at);
        }
        claims.claims.push(claim.clone());
        let first = claims.first(rank).unwrap_or(claim);
        self.simplify();
        first
    }

    /// Notes at `now` that a source no longer names the task, which had `common` until now. Returns
    /// the claim that gives the task its properties; `None` if no source names the task any more.
    pub fn leave(
        &mut self,
        source: SourceId,
        common: &Arc<TaskCommon>,
        now: Timestamp,
        rank: impl Fn(SourceId) -> u32,
    ) -> Option<Claim> {
        let claims = self.expand(common);
        for claim in claims.claims.iter_mut().filter(|claim| claim.source == source) {
            claim.is_current = false;
        }
        let first = claims.first(rank);
        if first.is_none() {
            claims.unlisted_since.get_or_insert(now);
        }
        first
    }

    fn expand(&mut self, common: &Arc<TaskCommon>) -> &mut Claims {
        if let Self::One(source) = *self {
            let common = Arc::clone(common);
            let (enqueue_time, ends) = (None, None);
            let claim = Claim { source, is_current: true, common, enqueue_time, ends };
            *self = Self::Many(Box::new(Claims { claims: vec![claim], unlisted_since: None }));
        }
        match self {
            Self::Many(claims) => claims,
            Self::One(_) => unreachable!("expanded above"),
        }
    }

    fn simplify(&mut self) {
        if let Self::Many(claims) = self
            && let [Claim { source, is_current: true, ends: None, .. }] = claims.claims.as_slice()
        {
            *self = Self::One(*source);
        }
    }

    fn simplified(mut self) -> Self {
        self.simplify();
        self
    }
}

impl Claims {
    /// Returns the current claim that comes first by `rank`.
    fn first(&self, rank: impl Fn(SourceId) -> u32) -> Option<Claim> {
        let current = self.claims.iter().filter(|claim| claim.is_current);
        current.min_by_key(|claim| rank(claim.source)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(label: &str) -> Arc<TaskCommon> {
        let labels = [("from".into(), label.into())].into();
        Arc::new(TaskCommon { provider: "p".into(), labels, params: [].into() })
    }

    fn claim(source: u32, label: &str) -> Claim {
        let (source, common) = (SourceId(source), common(label));
        Claim { source, is_current: true, common, enqueue_time: None, ends: None }
    }

    fn label(claim: Option<&Claim>) -> Option<&str> {
        claim.map(|claim| &*claim.common.labels[0].1)
    }

    /// The rank of a source is its number.
    fn rank(source: SourceId) -> u32 {
        source.0
    }

    #[test]
    fn the_first_source_by_rank_gives_the_properties() {
        let (now, own) = (Timestamp::from_micros(1), common("two"));
        let mut listing = Listing::One(SourceId(2));
        assert!(listing.has(&claim(2, "two"), &own) && !listing.has(&claim(2, "other"), &own));
        let later = listing.claim(claim(3, "three"), &own, rank);
        assert_eq!(label(Some(&later)), Some("two"), "a later source changes nothing");
        let first = listing.claim(claim(1, "one"), &own, rank);
        assert_eq!(label(Some(&first)), Some("one"));
        let own = first.common;
        assert_eq!(label(listing.leave(SourceId(1), &own, now, rank).as_ref()), Some("two"));
        assert_eq!(label(listing.leave(SourceId(2), &own, now, rank).as_ref()), Some("three"));
        assert!(listing.is_listed());
        assert_eq!(listing.leave(SourceId(3), &own, now, rank), None);
        assert_eq!(listing.unlisted_since(), Some(now));
        let keep = |source: SourceId| Duration::from_secs(u64::from(10 - source.0));
        assert_eq!(listing.longest(keep), Duration::from_secs(9), "of all that ever named it");
        listing.claim(claim(2, "again"), &own, rank);
        assert!(listing.is_listed() && !listing.is_only_configured());
    }

    #[test]
    fn one_source_takes_no_memory_of_its_own() {
        assert_eq!(size_of::<Listing>(), 16);
        let own = common("one");
        let mut listing = Listing::One(SourceId(1));
        listing.claim(claim(1, "changed"), &own, rank);
        assert_eq!(listing, Listing::One(SourceId(1)));
        listing.leave(SourceId(1), &own, Timestamp::from_micros(1), rank);
        assert!(!listing.is_listed());
        listing.claim(claim(1, "back"), &own, rank);
        assert_eq!(listing, Listing::One(SourceId(1)));
    }

    #[test]
    fn claims_have_an_end() {
        let (now, own) = (Timestamp::from_micros(1), common("config"));
        let mut listing = Listing::One(SourceId::CONFIG);
        for source in 1..200 {
            listing.claim(claim(source, "renamed"), &own, rank);
            listing.leave(SourceId(source), &own, now, rank);
        }
        assert_eq!(listing.sources().count(), MAX_CLAIMS);
        assert!(listing.is_listed(), "the current claim is not the one that goes");
    }
}
