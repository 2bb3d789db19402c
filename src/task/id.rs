//! Task IDs, of which a fleet can have a million.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use arrayvec::ArrayString;

/// The longest ID that stands in place, in bytes: a UUID has 36.
const SHORT: usize = 39;

/// A task's ID. One of the usual length stands in place: it takes less memory than one behind a
/// pointer, and who goes through all tasks in turn does not jump about for it.
#[derive(Clone)]
pub struct Id(Text);

#[derive(Clone)]
enum Text {
    Short(ArrayString<SHORT>),
    Long(Arc<str>),
}

impl From<&str> for Id {
    fn from(id: &str) -> Self {
        Self(ArrayString::from(id).map_or_else(|_| Text::Long(id.into()), Text::Short))
    }
}

impl Deref for Id {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Text::Short(text) => text,
            Text::Long(text) => text,
        }
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Id {}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_every_length_are_kept() {
        for length in [1, 36, SHORT - 1, SHORT, SHORT + 1, 4_096] {
            let text = "é".repeat(length)[..length / 2 * 2].to_owned() + &"x".repeat(length % 2);
            let id = Id::from(text.as_str());
            assert_eq!((&*id, &id), (text.as_str(), &id.clone()));
            assert_eq!(matches!(id.0, Text::Short(_)), length <= SHORT);
        }
        assert_eq!(size_of::<Id>(), 48);
    }
}
