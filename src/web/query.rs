//! The query of a URL, read strictly: what is not understood is refused, and nothing is guessed.

use std::borrow::Cow;
use std::collections::HashSet;

use percent_encoding::percent_decode_str;

/// The parameters of `query`, decoded, in their order.
///
/// # Errors
/// A parameter stands twice, or is not UTF-8 text: which one, as a sentence.
pub fn pairs(query: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut seen = HashSet::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = decode(key).ok_or("the name of a parameter is not UTF-8 text")?;
        let value =
            decode(value).ok_or_else(|| format!("the parameter {key:?} is not UTF-8 text"))?;
        if !seen.insert(key.clone()) {
            return Err(format!("the parameter {key:?} is given twice"));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// A form writes a space as `+`.
fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let owned = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>()
        };
        for (query, expected) in [
            ("", &[][..]),
            ("&&", &[]),
            ("a=1&b=2", &[("a", "1"), ("b", "2")]),
            ("a", &[("a", "")]),
            ("=", &[("", "")]),
            ("a=b=c", &[("a", "b=c")]),
            ("task%5Fid=a+b%2B%26%C3%A9", &[("task_id", "a b+&é")]),
            ("a=100%&b=%zz", &[("a", "100%"), ("b", "%zz")]),
        ] {
            assert_eq!(pairs(query), Ok(owned(expected)), "{query}");
        }
    }

    #[test]
    fn what_has_two_meanings_or_none_is_refused() {
        for (query, expected) in [
            ("a=1&a=1", r#"the parameter "a" is given twice"#),
            ("a=1&b=2&%61=3", r#"the parameter "a" is given twice"#),
            ("a=%FF", r#"the parameter "a" is not UTF-8 text"#),
            ("a=%C3", r#"the parameter "a" is not UTF-8 text"#),
            ("a=%ED%A0%80", r#"the parameter "a" is not UTF-8 text"#),
            ("%FF=a", "the name of a parameter is not UTF-8 text"),
        ] {
            assert_eq!(pairs(query), Err(expected.to_owned()), "{query}");
        }
    }
}
