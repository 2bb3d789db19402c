//! Resolution of host names: one look-up for each name at a time, on threads of their own, so that a name
//! server that does not respond blocks neither other names nor the reading of files.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::watch;

/// Maximum number of look-ups in flight, each of a different name: a provider has one name, its own
/// or that of its proxy. A look-up uses a thread for as long as the system waits for the name
/// server, which is about half a minute.
const MAX_LOOK_UPS: usize = 256;

/// Prefix of the standard library before the system's error message.
const PREFIX: &str = "failed to lookup address information: ";

/// Resolver of host names, for all providers of a process.
#[derive(Clone)]
pub struct Resolver(Arc<ResolverState>);

struct ResolverState {
    look_up: Box<LookUpFn>,
    in_flight: Mutex<HashMap<Box<str>, AddressReceiver>>,
}

type LookUpFn = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

type Addresses = Result<Arc<[SocketAddr]>, ResolveError>;

/// Receiver of the result of a look-up.
type AddressReceiver = watch::Receiver<Option<Addresses>>;

/// Error of a name that was not resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The look-up failed, for this reason.
    #[error("the name {0} cannot be looked up: {1}")]
    Failed(Box<str>, String),
    /// Too many other look-ups are in flight.
    #[error(
        "the name {0} is not looked up: {MAX_LOOK_UPS} other look-ups are waiting for their name \
         servers"
    )]
    TooMany(Box<str>),
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolver {
    /// Returns a resolver that asks the system.
    pub fn system() -> Self {
        Self::with(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }

    /// Returns a resolver that asks `look_up`, which may block for as long as it likes.
    pub fn with(
        look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(ResolverState { look_up: Box::new(look_up), in_flight: Mutex::default() }))
    }

    /// Reports whether a name is being looked up.
    pub fn is_looking_up(&self, name: &str) -> bool {
        self.0.in_flight.lock().contains_key(name)
    }

    /// Looks a name up. The caller may stop waiting at any time: the look-up continues, and the next
    /// caller joins it.
    async fn addresses(&self, name: &str) -> Addresses {
        let mut outcomes = self.join(name)?;
        let outcome = outcomes.wait_for(Option::is_some).await;
        let outcome = outcome.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or_else(|| {
            Err(ResolveError::Failed(
                name.into(),
                "the exporter panicked: please report".to_owned(),
            ))
        })
    }

    /// Joins the look-up of a name, and starts one if none is in flight.
    fn join(&self, name: &str) -> Result<AddressReceiver, ResolveError> {
        let mut in_flight = self.0.in_flight.lock();
        if let Some(outcomes) = in_flight.get(name) {
            return Ok(outcomes.clone());
        }
        if in_flight.len() >= MAX_LOOK_UPS {
            return Err(ResolveError::TooMany(name.into()));
        }
        let (found, outcomes) = watch::channel(None);
        in_flight.insert(name.into(), outcomes.clone());
        // If the thread cannot be spawned, its closure is dropped, and with it the look-up, which locks.
        drop(in_flight);
        let task = LookUp { shared: Arc::clone(&self.0), name: name.into() };
        // A thread for each look-up: connections are opened far less often than requests are sent.
        let thread = thread::Builder::new().name("look-up".to_owned()).spawn(move || {
            let outcome = task.run();
            // Later callers start a look-up of their own.
            drop(task);
            found.send_replace(Some(outcome));
        });
        match thread {
            Ok(_) => Ok(outcomes),
            Err(error) => Err(ResolveError::Failed(name.into(), error.to_string())),
        }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let addresses = this.addresses(name.as_str()).await?.to_vec();
            Ok::<Addrs, _>(Box::new(addresses.into_iter()))
        })
    }
}

/// A look-up in flight, which ends when it is dropped, also by a panic.
struct LookUp {
    shared: Arc<ResolverState>,
    name: Box<str>,
}

impl LookUp {
    fn run(&self) -> Addresses {
        let found = (self.shared.look_up)(&self.name).map(Arc::from);
        found.map_err(|error| {
            let why = error.to_string();
            let why = why.strip_prefix(PREFIX).unwrap_or(&why);
            ResolveError::Failed(self.name.clone(), why.to_owned())
        })
    }
}

impl Drop for LookUp {
    fn drop(&mut self) {
        self.shared.in_flight.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use parking_lot::Condvar;

    use super::*;

    /// Name servers; for names that begin with `silent` they respond only after [`Servers::respond`].
    #[derive(Default)]
    struct Servers {
        asked: AtomicUsize,
        is_responding: Mutex<bool>,
        changed: Condvar,
    }

    impl Servers {
        fn resolver(self: &Arc<Self>) -> Resolver {
            let servers = Arc::clone(self);
            Resolver::with(move |name| {
                let number = servers.asked.fetch_add(1, Ordering::SeqCst);
                if name.starts_with("silent") {
                    let is_silent = |is_responding: &mut bool| !*is_responding;
                    servers.changed.wait_while(&mut servers.is_responding.lock(), is_silent);
                }
                assert_ne!(name, "panic.test", "on purpose");
                match name {
                    "unknown.test" => Err(io::Error::other(format!("{PREFIX}no such name"))),
                    _ => Ok(vec![address(number)]),
                }
            })
        }

        /// Waits until `times` look-ups have begun.
        async fn was_asked(&self, times: usize) {
            while self.asked.load(Ordering::SeqCst) < times {
                tokio::task::yield_now().await;
            }
        }

        fn respond(&self) {
            *self.is_responding.lock() = true;
            self.changed.notify_all();
        }
    }

    fn address(number: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, u8::try_from(number % 256).unwrap()], 0))
    }

    #[tokio::test]
    async fn callers_of_a_name_share_a_look_up_and_other_names_do_not_wait() {
        let servers = Arc::new(Servers::default());
        let resolver = servers.resolver();
        let mut waiting: Vec<_> =
            (0..1_000).map(|_| Box::pin(resolver.addresses("silent"))).collect();
        assert!(waiting.iter_mut().all(|caller| caller.now_or_never().is_none()));
        // Threads take up look-ups in any order; the numbers below need this one to be the first.
        servers.was_asked(1).await;
        // Some callers stop waiting.
        let waiting = waiting.split_off(500);
        assert_eq!(*resolver.addresses("a.test").await.unwrap(), [address(1)]);
        assert!(resolver.is_looking_up("silent") && !resolver.is_looking_up("a.test"));
        servers.respond();
        for found in join_all(waiting).await {
            assert_eq!(*found.unwrap(), [address(0)]);
        }
        // A later request is a new look-up.
        assert_eq!(*resolver.addresses("silent").await.unwrap(), [address(2)]);
    }

    #[tokio::test]
    async fn a_look_up_beyond_the_limit_is_refused_at_once() {
        let servers = Arc::new(Servers::default());
        let resolver = servers.resolver();
        let names: Vec<_> = (0..MAX_LOOK_UPS).map(|number| format!("silent-{number}")).collect();
        let mut waiting: Vec<_> =
            names.iter().map(|name| Box::pin(resolver.addresses(name))).collect();
        assert!(waiting.iter_mut().all(|caller| caller.now_or_never().is_none()));
        let refused = resolver.addresses("a.test").await.unwrap_err();
        assert_eq!(refused, ResolveError::TooMany("a.test".into()));
        let text = "the name a.test is not looked up: 256 other look-ups are waiting for their \
                    name servers";
        assert_eq!(refused.to_string(), text);
        // A look-up in flight can still be joined.
        let joined = resolver.addresses("silent-7");
        servers.respond();
        assert!(joined.await.is_ok());
        assert!(join_all(waiting).await.iter().all(Result::is_ok));
        assert!(resolver.addresses("a.test").await.is_ok());
    }

    #[tokio::test]
    async fn a_failed_look_up_has_a_reason_and_is_not_in_flight() {
        let resolver = Arc::new(Servers::default()).resolver();
        for (name, why) in [
            ("unknown.test", "no such name"),
            ("panic.test", "the exporter panicked: please report"),
        ] {
            let error = resolver.addresses(name).await.unwrap_err().to_string();
            assert_eq!(error, format!("the name {name} cannot be looked up: {why}"));
            assert!(!resolver.is_looking_up(name));
        }
    }
}
