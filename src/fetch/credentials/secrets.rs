//! The secrets of a provider's requests, which its answers must not show.

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderName;
use http::header::COOKIE;
use secrecy::{ExposeSecret, SecretString};

use crate::fetch::redact::Redactor;

/// How many generations of secrets are taken out of answers, the present one included: a gateway
/// may send back what it was sent before. A signed token is valid for that long.
const GENERATIONS: usize = 4;

/// Every text that is a secret by itself.
#[derive(Debug, Default)]
pub struct Secrets(Vec<SecretString>);

impl Secrets {
    /// Adds a secret.
    pub fn add(&mut self, secret: SecretString) {
        self.0.push(secret);
    }

    /// Adds a user's password, and how both travel. Where there is no password, the name is one.
    pub fn add_user(&mut self, username: &str, password: &str) {
        let secret = if password.is_empty() { username } else { password };
        let both = format!("{username}:{password}");
        self.0.extend([secret.into(), basic(username, password).into(), both.into()]);
    }

    /// Adds a header's value, and what in it is a secret by itself: what follows a scheme, a user's
    /// password, the value of a cookie.
    pub fn add_header(&mut self, name: &HeaderName, value: &str) {
        self.0.push(value.into());
        if *name == COOKIE {
            let values = value.split(';').filter_map(|pair| pair.split_once('='));
            self.0.extend(values.map(|(_, value)| value.trim().into()));
        } else if let Some((scheme, rest)) = value.split_once(' ') {
            self.0.push(rest.trim().into());
            let is_basic = scheme.eq_ignore_ascii_case("basic");
            let user = BASE64_STANDARD.decode(rest.trim()).ok().filter(|_| is_basic);
            let user = user.and_then(|user| String::from_utf8(user).ok());
            if let Some((username, password)) =
                user.as_deref().and_then(|user| user.split_once(':'))
            {
                self.add_user(username, password);
            }
        }
    }

    /// Adds a signed token and its parts, but for the first, which only names the algorithm.
    pub fn add_token(&mut self, token: &str) {
        self.0.extend(token.split('.').skip(1).chain([token]).map(SecretString::from));
    }

    fn exposed(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(ExposeSecret::expose_secret)
    }
}

/// The secrets of now, and those that they have replaced.
#[derive(Debug, Default)]
pub struct SecretHistory {
    /// The newest first.
    generations: VecDeque<Secrets>,
    /// Takes all of them out of an answer.
    pub redactor: Arc<Redactor>,
}

impl SecretHistory {
    /// Takes on the secrets of now. Those that were the secrets until now are remembered.
    pub fn push(&mut self, secrets: Secrets) {
        if self.generations.front().is_some_and(|known| known.exposed().eq(secrets.exposed())) {
            return;
        }
        self.generations.push_front(secrets);
        self.generations.truncate(GENERATIONS);
        self.redactor = Arc::new(Redactor::new(self.generations.iter().flat_map(Secrets::exposed)));
    }
}

/// The credentials of RFC 7617.
pub fn basic(username: &str, password: &str) -> String {
    BASE64_STANDARD.encode(format!("{username}:{password}"))
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;

    use super::*;

    fn joined(secrets: &Secrets) -> String {
        secrets.exposed().collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn what_is_a_secret_by_itself_is_known() {
        let parts = |name: HeaderName, value: &str| {
            let mut secrets = Secrets::default();
            secrets.add_header(&name, value);
            joined(&secrets)
        };
        assert_eq!(parts(AUTHORIZATION, "token"), "token");
        assert_eq!(parts(AUTHORIZATION, "Token  t 1"), "Token  t 1 | t 1");
        let basic = "bAsic dTpwOjE= | dTpwOjE= | p:1 | dTpwOjE= | u:p:1";
        assert_eq!(parts(AUTHORIZATION, "bAsic dTpwOjE="), basic);
        assert_eq!(parts(COOKIE, "a=1; b=x=y"), "a=1; b=x=y | 1 | x=y");
        let mut secrets = Secrets::default();
        secrets.add_user("token", "");
        secrets.add_token("a.b.c");
        assert_eq!(joined(&secrets), "token | dG9rZW46 | token: | b | c | a.b.c");
    }

    #[test]
    fn secrets_that_were_replaced_are_known_for_some_time() {
        let secret = |number: usize| format!("secret-{number}");
        let mut history = SecretHistory::default();
        for number in 0..=GENERATIONS {
            // The same again is no other generation.
            history.push(Secrets(vec![secret(number).into()]));
            history.push(Secrets(vec![secret(number).into()]));
        }
        let is_known = |number: &usize| history.redactor.mask_text(&secret(*number)).is_some();
        let known: Vec<_> = (0..=GENERATIONS).filter(is_known).collect();
        assert_eq!(known, (1..=GENERATIONS).collect::<Vec<_>>());
    }
}
