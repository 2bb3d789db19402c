use futures_util::future::{BoxFuture, FutureExt};
use secrecy::ExposeSecret;

use super::super::config::User;
use super::*;

fn users(pairs: &[(&str, &str)]) -> Arc<Users> {
    let user = |(name, password): &(&str, &str)| User {
        name: (*name).into(),
        hash: bcrypt::hash(password, 4).unwrap().into(),
    };
    Arc::new(pairs.iter().map(user).collect())
}

fn credentials(user: &str, password: &str) -> BasicCredentials {
    BasicCredentials { user: user.into(), password: password.as_bytes().to_vec().into() }
}

fn address(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

/// Creates a verifier that compares nothing until [`compare`] is called.
fn held() -> Arc<PasswordVerifier> {
    let passwords = Arc::new(PasswordVerifier::new());
    passwords.state.lock().is_comparing = true;
    passwords
}

async fn compare(passwords: &Arc<PasswordVerifier>) {
    let passwords = Arc::clone(passwords);
    tokio::task::spawn_blocking(move || passwords.compare_all()).await.unwrap();
}

/// Submits a guess without waiting for its outcome.
fn ask(
    passwords: &Arc<PasswordVerifier>,
    users: &Arc<Users>,
    (user, password): (&str, &str),
    from: u8,
) -> BoxFuture<'static, bool> {
    let (passwords, users) = (Arc::clone(passwords), Arc::clone(users));
    let credentials = credentials(user, password);
    let ask = async move { passwords.verify(&users, credentials, address(from)).await };
    let mut ask = ask.boxed();
    assert_eq!(ask.as_mut().now_or_never(), None, "it waits for its position");
    ask
}

#[tokio::test]
async fn the_right_password_is_admitted_and_compared_once() {
    let users = users(&[("alice", "a"), ("bob", "b")]);
    let passwords = held();
    let asks = [("alice", "a"), ("alice", "b"), ("bob", "b"), ("carol", "a"), ("carol", "b")];
    let is_right = |ask: &_| [("alice", "a"), ("bob", "b")].contains(ask);
    let waiting = asks.map(|asked| (is_right(&asked), ask(&passwords, &users, asked, 1)));
    compare(&passwords).await;
    for (is_right, ask) in waiting {
        assert_eq!(ask.await, is_right);
    }
    for (user, password) in asks {
        let again = passwords.verify(&users, credentials(user, password), address(1));
        assert_eq!(again.now_or_never(), Some(is_right(&(user, password))));
    }
    assert!(!format!("{passwords:?}{users:?}").contains("$2"));
}

#[tokio::test]
async fn users_that_change_are_compared_again() {
    let passwords = Arc::new(PasswordVerifier::new());
    let admit = |users: &Arc<Users>, user, password| {
        let (passwords, users) = (Arc::clone(&passwords), Arc::clone(users));
        async move { passwords.verify(&users, credentials(user, password), address(1)).await }
    };
    let before = users(&[("alice", "a"), ("bob", "b")]);
    assert!(admit(&before, "alice", "a").await && admit(&before, "bob", "b").await);
    assert!(!admit(&before, "carol", "a").await);
    // Alice has a new password, Bob is gone, and Carol has the hash that was Alice's.
    let mut after: Vec<_> = vec![before.get(b"alice").unwrap().clone()];
    after[0].name = "carol".into();
    after.extend(users(&[("alice", "new")]).get(b"alice").cloned());
    let after = Arc::new(after.into_iter().collect());
    assert!(!admit(&after, "alice", "a").await && !admit(&after, "bob", "b").await);
    assert!(admit(&after, "alice", "new").await && admit(&after, "carol", "a").await);
}

#[tokio::test]
async fn neither_users_nor_addresses_wait_for_the_guesses_of_others() {
    let (users, passwords) = (users(&[("alice", "a"), ("bob", "b")]), held());
    let guesses: Vec<_> = (0..100).map(|number| format!("guess {number}")).collect();
    let mut asks = Vec::new();
    for guess in &guesses {
        asks.push(ask(&passwords, &users, ("bob", guess), 1));
        asks.push(ask(&passwords, &users, (guess, "b"), 1));
    }
    asks.push(ask(&passwords, &users, ("alice", "a"), 1));
    asks.push(ask(&passwords, &users, ("bob", "b"), 2));
    // The first guesses of the two flows, followed by the right ones.
    let order: Vec<_> = {
        let mut state = passwords.state.lock();
        std::iter::from_fn(|| state.queue.pop().map(|(_, guess)| guess.user)).take(4).collect()
    };
    assert_eq!(order, [b"bob".as_slice(), b"guess 0", b"alice", b"bob"]);
}

#[tokio::test]
async fn a_known_password_does_not_wait_for_those_that_are_compared() {
    let users = users(&[("alice", "a"), ("bob", "b")]);
    let passwords = Arc::new(PasswordVerifier::new());
    assert!(passwords.verify(&users, credentials("alice", "a"), address(1)).await);
    passwords.state.lock().is_comparing = true;
    let waiting = ask(&passwords, &users, ("bob", "b"), 1);
    let known = passwords.verify(&users, credentials("alice", "a"), address(1));
    assert_eq!(known.now_or_never(), Some(true));
    compare(&passwords).await;
    assert!(waiting.await);
}

/// Prometheus gives up after ten seconds, and the guesses ahead may take longer in total.
#[tokio::test]
async fn a_password_keeps_its_place_though_its_client_has_left() {
    let (users, passwords) = (users(&[("alice", "a")]), held());
    let ahead: Vec<_> = (0..MAX_ABANDONED_GUESSES).map(|number| number.to_string()).collect();
    for guess in &ahead {
        drop(ask(&passwords, &users, ("alice", guess), 1));
    }
    // Later guesses do not push it out.
    drop(ask(&passwords, &users, ("alice", "a"), 2));
    for guess in &ahead {
        drop(ask(&passwords, &users, ("alice", &format!("later {guess}")), 2));
    }
    let count = || passwords.state.lock().pending.len();
    assert_eq!(count(), MAX_ABANDONED_GUESSES);
    compare(&passwords).await;
    assert_eq!(count(), 0);
    let again = passwords.verify(&users, credentials("alice", "a"), address(2));
    assert_eq!(again.now_or_never(), Some(true));
}

#[tokio::test]
async fn clients_with_the_same_password_wait_for_one_comparison() {
    let (users, passwords) = (users(&[("alice", "a")]), held());
    let asks: Vec<_> = (0..3).map(|_| ask(&passwords, &users, ("alice", "a"), 1)).collect();
    assert_eq!(passwords.state.lock().pending.len(), 1);
    compare(&passwords).await;
    for ask in asks {
        assert!(ask.await);
    }
}

#[test]
fn an_address_of_ipv6_counts_as_its_network() {
    let same =
        |one: &str, other: &str| network(one.parse().unwrap()) == network(other.parse().unwrap());
    assert!(same("2001:db8:1:2::1", "2001:db8:1:2:3::4") && same("::ffff:10.0.0.1", "10.0.0.1"));
    assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1") && !same("10.0.0.1", "10.0.0.2"));
}

#[tokio::test]
async fn where_there_are_no_users_nobody_is_one() {
    let passwords = Arc::new(PasswordVerifier::new());
    assert!(!passwords.verify(&users(&[]), credentials("", ""), address(1)).await);
}

#[test]
fn credentials_are_never_shown() {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, "Basic YWxpY2U6aHVudGVyMg==".parse().unwrap());
    let credentials = BasicCredentials::of(&headers).unwrap();
    assert_eq!(credentials.user, b"alice");
    assert_eq!(credentials.password.expose_secret(), b"hunter2");
    let long = STANDARD.encode(format!("alice:{}", "x".repeat(MAX_CREDENTIALS_BYTES)));
    headers.insert(header::AUTHORIZATION, format!("Basic {long}").parse().unwrap());
    assert!(BasicCredentials::of(&headers).is_none(), "too long");
    let password = format!("{:?}", b"hunter2");
    assert!(!format!("{credentials:?}").contains(password.trim_matches(['[', ']'])));
}

#[test]
fn one_right_password_of_a_user_is_remembered() {
    let mut cache = OutcomeCache::default();
    let of = |cache: &OutcomeCache| {
        [("alice", 1), ("alice", 2), ("bob", 1), ("bob", 3)]
            .map(|(user, tag)| cache.get(user.as_bytes(), &[tag; 32]))
    };
    cache.remember_right(b"alice", [1; 32]);
    cache.remember_right(b"bob", [3; 32]);
    assert_eq!(of(&cache), [Some(true), None, None, Some(true)]);
    cache.remember_right(b"alice", [2; 32]);
    assert_eq!(of(&cache), [None, Some(true), None, Some(true)]);
    cache.retain(|user| user == b"alice");
    assert_eq!(of(&cache), [None, Some(true), None, None]);
}

#[test]
fn the_oldest_wrong_password_is_forgotten() {
    let mut cache = OutcomeCache::default();
    let tag = |number: usize| {
        let mut tag = [0; 32];
        tag[..8].copy_from_slice(&number.to_le_bytes());
        tag
    };
    for number in (0..=MAX_WRONG_GUESSES).chain(1..=MAX_WRONG_GUESSES) {
        cache.remember_wrong(tag(number));
    }
    assert_eq!(cache.get(b"alice", &tag(0)), None);
    assert_eq!(cache.get(b"alice", &tag(1)), Some(false));
    assert_eq!((cache.wrong.len(), cache.order.len()), (MAX_WRONG_GUESSES, MAX_WRONG_GUESSES));
}
