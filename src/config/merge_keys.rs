//! Merge keys (`<<`), which are not supported: each is reported once, and what it would bring counts
//! as written, so that nothing else is missed because of it.

use std::collections::HashSet;

use super::diagnostic::Diagnostic;
use super::document::{NodeKind, YamlNode};

/// Takes the merge keys out of a tree and puts what they mean in their place. Each is reported.
pub fn expand(node: &mut YamlNode, report: &mut impl FnMut(Diagnostic)) {
    let entries = match &mut node.kind {
        NodeKind::List(items) => {
            return items.iter_mut().for_each(|node| expand(node, report));
        }
        NodeKind::Map(entries) => entries,
        _ => return,
    };
    for (_, value) in entries.iter_mut() {
        expand(value, report);
    }
    let is_merge =
        |(key, value): &mut (YamlNode, YamlNode)| key.text() == Some("<<") && is_mergeable(value);
    let merged: Vec<_> = entries.extract_if(.., is_merge).collect();
    for (key, value) in merged {
        let diagnostic = Diagnostic::new(key.location, "merge keys (`<<`) are not supported");
        report(diagnostic.hint("use an alias for a whole block, or write the keys once more"));
        let blocks = match value.kind {
            NodeKind::List(blocks) => blocks,
            _ => vec![value],
        };
        let mut known: HashSet<Box<str>> =
            entries.iter().filter_map(|(key, _)| key.text().map(Box::from)).collect();
        for block in blocks {
            let NodeKind::Map(more) = block.kind else { continue };
            for (key, value) in more {
                if key.text().is_some_and(|name| known.insert(name.into())) {
                    entries.push((key, value));
                }
            }
        }
    }
}

/// Reports whether YAML 1.1 would merge a value.
fn is_mergeable(value: &YamlNode) -> bool {
    let is_map = |node: &YamlNode| matches!(node.kind, NodeKind::Map(_));
    match &value.kind {
        NodeKind::List(items) => !items.is_empty() && items.iter().all(is_map),
        _ => is_map(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{document, effective};

    #[test]
    fn each_is_reported_and_means_what_it_would() {
        for (text, expected, count) in [
            ("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}", "b:\n  x: 3\n  y: 2\n", 1),
            ("a: &a {x: 1}\nb: [{<<: [*a, {x: 2, z: 4}]}]", "b:\n- x: 1\n  z: 4\n", 1),
            ("a: &a {x: 1}\nb: {<<: {<<: *a, y: 2}}", "b:\n  y: 2\n  x: 1\n", 2),
            ("b: {<<: 1, c: {<<: []}}", "b:\n  <<: 1\n  c:\n    <<: []\n", 0),
        ] {
            let mut root = document::parse(text, 0).unwrap();
            let mut diagnostics = Vec::new();
            expand(&mut root, &mut |diagnostic| diagnostics.push(diagnostic));
            let shown = serde_yaml::to_string(&effective::value(&root)).unwrap();
            assert!(shown.ends_with(expected), "{shown}");
            assert_eq!(diagnostics.len(), count, "{text}");
        }
    }
}
