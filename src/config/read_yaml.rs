//! Reading of a single YAML file of another kind, with the same diagnostics, and merge keys.

use super::http_client;
use super::privacy::{self, Shape};
use crate::yaml::decode;
use crate::yaml::diagnostic::{Diagnostic, DiagnosticSink, Diagnostics};
use crate::yaml::source::{SourceFormat, SourceText};
use crate::yaml::span::{Location, Position, Spanned};
use crate::yaml::tree::{self, NodeKind, YamlNode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::HashSet;
use std::io;

/// The file as a whole, for errors without a position.
const FILE: Location = Location { document: 0, position: Position::File };

/// Decodes the `content` of the file `name`, and makes of it what `check` does.
///
/// # Errors
/// All diagnostics: those of the file, and those that `check` has reported.
pub fn read<T, R>(
    name: &str,
    content: io::Result<Vec<u8>>,
    check: impl FnOnce(T, &DiagnosticSink) -> Option<R>,
) -> Result<R, Diagnostics>
where
    T: for<'de> Deserialize<'de> + Default + JsonSchema,
{
    let broken = |text, location, message: String, hint: Option<&str>| {
        let source = SourceText::new(name.to_owned(), text, SourceFormat::Broken);
        let mut diagnostic = Diagnostic::new(location, message);
        diagnostic.hint = hint.map(str::to_owned);
        Err(Diagnostics::new(diagnostic.into(), &[source]))
    };
    let content = match content {
        Ok(content) => content,
        Err(error) => {
            let message = format!("cannot read the file: {}", http_client::reason(&error));
            return broken(String::new(), FILE, message, None);
        }
    };
    let (text, error) = tree::decode_utf8(content);
    let parsed = error.map_or_else(|| tree::parse(&text, 0), Err);
    let mut root = match parsed {
        Ok(root) => root,
        Err(error) => {
            let location = Location { document: 0, position: error.position };
            return broken(text, location, error.message.to_owned(), error.hint);
        }
    };
    let mut source = SourceText::new(name.to_owned(), text, SourceFormat::Yaml);
    let sink = DiagnosticSink::default();
    expand_merge_keys(&mut root, &mut |diagnostic| sink.push(diagnostic));
    let decoded: Spanned<T> = decode::decode(&root, &sink);
    let made = check(decoded.value.unwrap_or_default(), &sink);
    let diagnostics = sink;
    match made {
        Some(made) if diagnostics.is_empty() => Ok(made),
        _ => {
            source.hidden = privacy::hidden(&root, &Shape::of::<T>());
            Err(Diagnostics::new(diagnostics, &[source]))
        }
    }
}

/// Takes the merge keys out of a tree and puts what they mean in their place. Each is reported.
pub fn expand_merge_keys(node: &mut YamlNode, report: &mut impl FnMut(Diagnostic)) {
    let entries = match &mut node.kind {
        NodeKind::List(items) => {
            return items.iter_mut().for_each(|node| expand_merge_keys(node, report));
        }
        NodeKind::Map(entries) => entries,
        _ => return,
    };
    for (_, value) in entries.iter_mut() {
        expand_merge_keys(value, report);
    }
    let is_merge =
        |(key, value): &mut (YamlNode, YamlNode)| key.text() == Some("<<") && is_mergeable(value);
    let merged: Vec<_> = entries.extract_if(.., is_merge).collect();
    for (key, value) in merged {
        let diagnostic = Diagnostic::new(key.location, "merge keys (`<<`) are not supported");
        report(diagnostic.hint("use an alias for a whole block, or repeat the keys"));
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
    use crate::config::effective;

    #[test]
    fn each_is_reported_and_means_what_it_would() {
        for (text, expected, count) in [
            ("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}", "b:\n  x: 3\n  y: 2\n", 1),
            ("a: &a {x: 1}\nb: [{<<: [*a, {x: 2, z: 4}]}]", "b:\n- x: 1\n  z: 4\n", 1),
            ("a: &a {x: 1}\nb: {<<: {<<: *a, y: 2}}", "b:\n  y: 2\n  x: 1\n", 2),
            ("b: {<<: 1, c: {<<: []}}", "b:\n  <<: 1\n  c:\n    <<: []\n", 0),
        ] {
            let mut root = tree::parse(text, 0).unwrap();
            let mut diagnostics = Vec::new();
            expand_merge_keys(&mut root, &mut |diagnostic| diagnostics.push(diagnostic));
            let shown = serde_yaml::to_string(&effective::value(&root)).unwrap();
            assert!(shown.ends_with(expected), "{shown}");
            assert_eq!(diagnostics.len(), count, "{text}");
        }
    }
}
