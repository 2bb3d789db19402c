//! The users of the file and their hashes.

use std::fmt;
use std::str::FromStr;

use bcrypt::HashParts;
use secrecy::{ExposeSecret, SecretString};

use crate::config::decode::Sink;
use crate::config::diagnostic::Diagnostic;
use crate::config::scalar::SecretText;
use crate::config::span::OrderedMap;

/// What bcrypt takes for a cost. Each more doubles the time.
const MIN_COST: u32 = 4;
/// The highest that exporter-toolkit speaks of: some twenty seconds, once for each user. More would
/// keep a core busy for minutes at every wrong password.
const MAX_COST: u32 = 18;

/// Who is let in, by name.
#[derive(Debug, Default)]
pub struct Users(Vec<User>);

/// A user.
#[derive(Clone)]
pub struct User {
    /// The name, which holds no `:`.
    pub name: Box<str>,
    /// A valid bcrypt hash of the password.
    pub hash: SecretString,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: <secret>", self.name)
    }
}

impl Users {
    /// Whether there are none, so that no password is asked for.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// The user of this name.
    pub fn get(&self, name: &[u8]) -> Option<&User> {
        self.0.iter().find(|user| user.name.as_bytes() == name)
    }

    /// Any one of them, always the same for the same `number`.
    pub fn any(&self, number: u64) -> Option<&User> {
        let count = u64::try_from(self.0.len()).ok()?;
        self.0.get(usize::try_from(number.checked_rem(count)?).ok()?)
    }
}

impl FromIterator<User> for Users {
    fn from_iter<I: IntoIterator<Item = User>>(users: I) -> Self {
        Self(users.into_iter().collect())
    }
}

/// Checks names and hashes.
pub fn users(table: &OrderedMap<SecretText>, sink: &Sink) -> Users {
    let mut users = Vec::new();
    let report = |mistake: Diagnostic| sink.borrow_mut().push(mistake);
    for (name, hash) in &table.0 {
        let (Some((name_place, name)), Some((place, SecretText(hash)))) =
            (name.located(), hash.located())
        else {
            continue;
        };
        if name.contains(':') {
            report(Diagnostic::new(name_place, "a user's name cannot hold `:`"));
        }
        match HashParts::from_str(hash.expose_secret()) {
            Ok(parts) if (MIN_COST..=MAX_COST).contains(&parts.get_cost()) => {}
            Ok(_) => {
                let message = format!("the hash has a cost outside {MIN_COST} to {MAX_COST}");
                report(
                    Diagnostic::new(place, message)
                        .hint("10 is usual, and takes a tenth of a second"),
                );
            }
            Err(_) => {
                let mistake = Diagnostic::new(place, "not a bcrypt hash");
                report(mistake.hint("make one with `htpasswd -nBC 10 \"\" | tr -d ':\\n'`"));
            }
        }
        users.push(User { name: name.as_str().into(), hash: hash.clone() });
    }
    Users(users)
}
