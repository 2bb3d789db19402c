//! Basic authentication: what a client says, and whether it is right.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{hmac, rand};
use secrecy::{ExposeSecret, SecretSlice};
use tokio::sync::Semaphore;

use super::config::Users;
use crate::lock::lock;

/// How many passwords are compared with hashes at once. Each takes a core for as long as its
/// hash's cost says, and whoever guesses must not slow down the polls.
const AT_ONCE: usize = 1;

/// What a client says who it is.
#[derive(Debug)]
pub struct Credentials {
    user: Vec<u8>,
    password: SecretSlice<u8>,
}

impl Credentials {
    /// Those of a request, as RFC 7617 has them.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let (scheme, encoded) =
            headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let mut user = STANDARD.decode(encoded.trim()).ok()?;
        let colon = user.iter().position(|byte| *byte == b':')?;
        let password = user.split_off(colon + 1);
        user.truncate(colon);
        Some(Self { user, password: password.into() })
    }
}

/// Compares passwords with hashes, and remembers for each user the password that was right, in a
/// form that tells nobody what it was.
#[derive(Debug)]
pub struct Passwords {
    /// Made anew by each process, so that what is remembered is worth nothing elsewhere. `None`
    /// where the system has no random numbers: then nothing is remembered.
    key: Option<hmac::Key>,
    right: Mutex<HashMap<Vec<u8>, hmac::Tag>>,
    turns: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

impl Passwords {
    /// Remembers nothing yet.
    pub fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new()).ok();
        Self { key, right: Mutex::default(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Whether the password is the user's. Somebody unknown is held against the hash of one of the
    /// users, so that the time does not tell who is known.
    pub async fn admit(self: &Arc<Self>, users: &Arc<Users>, credentials: Credentials) -> bool {
        let Credentials { user, password } = credentials;
        let known = users.get(&user);
        let Some(held) = known.or_else(|| users.any(self.number(&user))) else { return false };
        let (hash, is_known) = (held.hash.clone(), known.is_some());
        let message = message(&user, hash.expose_secret(), password.expose_secret());
        if is_known && self.is_right(&user, &message) {
            return true;
        }
        let Ok(turn) = Arc::clone(&self.turns).acquire_owned().await else { return false };
        // The same password may have been ahead in the queue.
        if is_known && self.is_right(&user, &message) {
            return true;
        }
        let (this, users) = (Arc::clone(self), Arc::clone(users));
        // Goes on even if the client has gone, which then finds its password known next time.
        let compare = move || {
            let equal = bcrypt::verify(password.expose_secret(), hash.expose_secret());
            let admitted = equal.unwrap_or(false) && is_known;
            tracing::debug!(admitted, "a password was compared with a hash");
            if admitted {
                this.remember(user, &message, &users);
            }
            drop(turn);
            admitted
        };
        tokio::task::spawn_blocking(compare).await.unwrap_or(false)
    }

    /// Remembers what was right; one password for each of the users.
    fn remember(&self, user: Vec<u8>, message: &SecretSlice<u8>, users: &Users) {
        let Some(key) = &self.key else { return };
        let mut right = lock(&self.right);
        right.retain(|user, _| users.get(user).is_some());
        right.insert(user, hmac::sign(key, message.expose_secret()));
    }

    fn is_right(&self, user: &[u8], message: &SecretSlice<u8>) -> bool {
        let right = lock(&self.right);
        self.key.as_ref().zip(right.get(user)).is_some_and(|(key, tag)| {
            hmac::verify(key, message.expose_secret(), tag.as_ref()).is_ok()
        })
    }

    /// A number that nobody outside can tell from a name.
    fn number(&self, user: &[u8]) -> u64 {
        let tag = self.key.as_ref().map(|key| hmac::sign(key, user));
        let start = tag.as_ref().and_then(|tag| tag.as_ref().first_chunk());
        start.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// Who, which hash and which password, so that no two triples are one message.
fn message(user: &[u8], hash: &str, password: &[u8]) -> SecretSlice<u8> {
    let length = u64::try_from(user.len()).unwrap_or(u64::MAX).to_le_bytes();
    // A valid hash has 60 bytes.
    [&length, user, hash.as_bytes(), password].concat().into()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::super::config::User;
    use super::*;

    fn users(pairs: &[(&str, &str)]) -> Arc<Users> {
        let user = |(name, password): &(&str, &str)| User {
            name: (*name).into(),
            hash: bcrypt::hash(password, 4).unwrap().into(),
        };
        Arc::new(pairs.iter().map(user).collect())
    }

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials { user: user.into(), password: password.as_bytes().to_vec().into() }
    }

    #[tokio::test]
    async fn a_known_password_does_not_wait_for_those_that_are_compared() {
        let users = users(&[("alice", "a"), ("bob", "b")]);
        let passwords = Arc::new(Passwords::new());
        assert!(passwords.admit(&users, credentials("alice", "a")).await);
        let turns = Arc::clone(&passwords.turns).acquire_many_owned(1).await.unwrap();
        // No more at once than there are turns.
        let waiting = passwords.admit(&users, credentials("bob", "b"));
        assert!(tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err());
        let known = passwords.admit(&users, credentials("alice", "a"));
        assert_eq!(tokio::time::timeout(Duration::from_secs(20), known).await, Ok(true));
        drop(turns);
        assert!(passwords.admit(&users, credentials("bob", "b")).await);
    }

    #[tokio::test]
    async fn no_more_is_remembered_than_there_are_users() {
        let passwords = Arc::new(Passwords::new());
        let remembered = || passwords.right.lock().unwrap().len();
        let before = users(&[("alice", "a"), ("bob", "b")]);
        for (user, password) in [("alice", "a"), ("bob", "b"), ("bob", "x"), ("carol", "a")] {
            passwords.admit(&before, credentials(user, password)).await;
        }
        assert_eq!(remembered(), 2);
        // A new password for alice; bob has gone.
        let after = users(&[("alice", "new")]);
        assert!(!passwords.admit(&after, credentials("alice", "a")).await);
        assert!(!passwords.admit(&after, credentials("bob", "b")).await);
        assert!(passwords.admit(&after, credentials("alice", "new")).await);
        assert_eq!(remembered(), 1);
        assert!(!format!("{passwords:?}{before:?}").contains("$2"));
    }

    /// Prometheus gives up after ten seconds, and a costly hash takes longer.
    #[tokio::test]
    async fn a_password_is_remembered_though_its_client_has_gone() {
        let users = users(&[("alice", "a")]);
        let passwords = Arc::new(Passwords::new());
        {
            let mut admit = pin!(passwords.admit(&users, credentials("alice", "a")));
            let _ = admit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        // The turn ends with the comparison.
        let _turn = passwords.turns.acquire().await.unwrap();
        assert_eq!(passwords.right.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn where_there_are_no_users_nobody_is_one() {
        let passwords = Arc::new(Passwords::new());
        assert!(!passwords.admit(&users(&[]), credentials("", "")).await);
    }

    #[test]
    fn credentials_are_never_shown() {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "Basic YWxpY2U6aHVudGVyMg==".parse().unwrap());
        let credentials = Credentials::of(&headers).unwrap();
        assert_eq!(credentials.user, b"alice");
        assert_eq!(credentials.password.expose_secret(), b"hunter2");
        let password = format!("{:?}", b"hunter2");
        assert!(!format!("{credentials:?}").contains(password.trim_matches(['[', ']'])));
    }
}
