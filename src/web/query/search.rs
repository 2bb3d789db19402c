//! The search for a part of an ID.

use memchr::memmem::Finder;

/// A text that an ID must contain. Upper and lower case of ASCII letters are alike.
#[derive(Clone, Debug)]
pub struct IdSearch {
    text: String,
    finder: Finder<'static>,
}

impl IdSearch {
    /// Creates the search for a text.
    pub fn new(text: String) -> Self {
        let finder = Finder::new(&text.to_ascii_lowercase()).into_owned();
        Self { text, finder }
    }

    /// Returns the text as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Reports whether an ID contains the text.
    pub fn matches(&self, id: &str) -> bool {
        self.finder.find(id.to_ascii_lowercase().as_bytes()).is_some()
    }
}

impl PartialEq for IdSearch {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for IdSearch {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_an_id_is_found_in_any_case() {
        for (text, id, expected) in [
            ("dda7", "42a28dda-DDA7-4186", true),
            ("DDA7", "42a28dda-dda7-4186", true),
            ("dda8", "42a28dda-dda7-4186", false),
            ("é/", "a é/b", true),
            ("É/", "a é/b", false),
            ("42a28dda-dda7-4186-", "42a28dda-dda7-4186", false),
            ("%_.*", "100%_.*", true),
            ("%_.*", "100 and more", false),
        ] {
            assert_eq!(IdSearch::new(text.to_owned()).matches(id), expected, "{text} in {id}");
        }
    }
}
