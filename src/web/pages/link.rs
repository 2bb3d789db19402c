//! Links of the pages. What stands in them is any text, and never becomes structure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All that RFC 3986 does not call unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The page of a task.
pub fn task(provider: &str, id: &str) -> String {
    format!("/tasks/{}/{}", encode(provider), encode(id))
}

/// The probe of a task that shows the whole story.
pub fn probe(provider: &str, id: &str) -> String {
    with("/probe", &[("provider", provider), ("task_id", id), ("debug", "true")])
}

/// The table of the tasks that fit.
pub fn tasks(query: &[(&str, &str)]) -> String {
    with("/tasks", query)
}

/// The same as JSON.
pub fn json(query: &[(&str, &str)]) -> String {
    with("/api/v1/tasks", query)
}

/// `path` with the parameters.
fn with(path: &str, query: &[(&str, &str)]) -> String {
    let mut link = path.to_owned();
    let mut separator = '?';
    for (name, value) in query {
        link.push(separator);
        link.push_str(name);
        link.push('=');
        link.push_str(&encode(value));
        separator = '&';
    }
    link
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_stays_one_piece() {
        assert_eq!(task("p/q", "a/../%2F?é#-._~"), "/tasks/p%2Fq/a%2F..%2F%252F%3F%C3%A9%23-._~");
        assert_eq!(probe("p", "a&b=c"), "/probe?provider=p&task_id=a%26b%3Dc&debug=true");
        assert_eq!(tasks(&[]), "/tasks");
        assert_eq!(tasks(&[("provider", "a b")]), "/tasks?provider=a%20b");
    }
}
