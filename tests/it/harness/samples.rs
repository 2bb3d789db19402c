//! An exposition as samples, read strictly.

use std::collections::BTreeMap;
use std::str::Chars;

pub type Labels = BTreeMap<String, String>;

/// The samples by name and labels.
#[derive(Debug, Default, PartialEq)]
pub struct Samples(pub BTreeMap<(String, Labels), f64>);

impl Samples {
    /// Parses either format. Panics if the text is malformed or repeats a sample.
    pub fn parse(text: &str) -> Self {
        let mut samples = Self::default();
        for line in text.split('\n').filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, labels, value) = sample(line).unwrap_or_else(|| panic!("malformed: {line}"));
            samples.add(name, labels, value);
        }
        samples
    }

    pub fn add(&mut self, name: String, labels: Labels, value: f64) {
        let twice = self.0.insert((name, labels), value);
        assert!(twice.is_none(), "a sample stands twice in the exposition");
    }

    /// The samples of `name` that have these labels, among others perhaps.
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Vec<(&Labels, f64)> {
        let matches = |found: &Labels| {
            labels.iter().all(|(key, value)| found.get(*key).is_some_and(|found| found == value))
        };
        let samples = self.0.iter().filter(|((found, _), _)| found == name);
        let samples = samples.map(|((_, labels), value)| (labels, *value));
        samples.filter(|(labels, _)| matches(labels)).collect()
    }

    /// The value of the one sample, if it is there.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.only(name, labels).map(|(_, value)| value)
    }

    /// The further label `wanted` of the one sample, if it is there.
    pub fn label(&self, name: &str, labels: &[(&str, &str)], wanted: &str) -> Option<&str> {
        self.only(name, labels).map(|(labels, _)| &*labels[wanted])
    }

    fn only(&self, name: &str, labels: &[(&str, &str)]) -> Option<(&Labels, f64)> {
        let found = self.find(name, labels);
        assert!(found.len() < 2, "more than one: {found:?}");
        found.first().copied()
    }
}

fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let mut labels = Labels::new();
    let rest = match rest.strip_prefix('{') {
        None => rest,
        Some(inner) => {
            let mut chars = inner.chars();
            loop {
                let (key, value) = label(&mut chars)?;
                if labels.insert(key, value).is_some() {
                    return None;
                }
                match chars.next()? {
                    ',' => {}
                    '}' => break chars.as_str(),
                    _ => return None,
                }
            }
        }
    };
    let value = rest.strip_prefix(' ')?;
    let value = if value == "+Inf" { f64::INFINITY } else { value.parse().ok()? };
    Some((name.to_owned(), labels, value))
}

fn label(chars: &mut Chars<'_>) -> Option<(String, String)> {
    let key: String = chars.by_ref().take_while(|c| *c != '=').collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if key.is_empty() || !key.chars().all(plain) || chars.next()? != '"' {
        return None;
    }
    let mut value = String::new();
    loop {
        match chars.next()? {
            '"' => return Some((key, value)),
            '\\' => value.push(match chars.next()? {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
}
