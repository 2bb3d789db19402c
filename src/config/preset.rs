//! The mappings that come with the binary. A preset is a provider without a name and without
//! credentials, in the language that users write.

use crate::yaml::tree::{NodeKind, YamlNode};

/// Embeds `config/providers/<name>.yml` under each name.
macro_rules! presets {
    ($($name:literal,)*) => {
        /// The names of all presets, sorted.
        pub const NAMES: &[&str] = &[$($name),*];

        /// The YAML of a preset.
        pub fn get(name: &str) -> Option<&'static str> {
            match name {
                $($name => Some(include_str!(concat!("../../config/providers/", $name, ".yml"))),)*
                _ => None,
            }
        }
    };
}

presets! {
    "bfl-flux",
    "cogvideox",
    "ideogram",
    "kling",
    "kling-tasks",
    "luma",
    "luma-gateway",
    "midjourney-proxy",
    "mjdjourney",
    "new-api-mj",
    "new-api-task",
    "openai-video",
    "runway",
    "runway-gateway",
    "stability",
    "suno-api",
    "suno-record-info",
    "viggle",
}

/// The names of the presets whose mapping has a list of all tasks, sorted.
pub const WITH_LIST: [&str; 3] = ["kling", "luma", "midjourney-proxy"];

/// The keys that make a request another one.
const REQUEST_KEYS: [&str; 4] = ["method", "path", "query", "body"];

/// Returns `provider` with the keys that only `preset` has. Lists and scalars replace the preset's; in
/// the mapping, null removes a key of the preset's.
///
/// Both are merged as trees, before either is decoded: a preset is written in the same language as a
/// provider.
pub(crate) fn merge(preset: &YamlNode, provider: &YamlNode) -> YamlNode {
    blocks(preset, provider, |key, base, value| match key {
        "authorization" => Some(authorization(base, value)),
        "http_headers" => Some(headers(base, value)),
        "request" => deep(&for_request(base, value), value),
        "response" => deep(base, value),
        _ => Some(value.clone()),
    })
}

/// Merges two blocks: `merge` decides on the keys that both have.
fn blocks(
    base: &YamlNode,
    over: &YamlNode,
    merge: impl Fn(&str, &YamlNode, &YamlNode) -> Option<YamlNode>,
) -> YamlNode {
    let (NodeKind::Map(base_entries), NodeKind::Map(entries)) = (&base.kind, &over.kind) else {
        return over.clone();
    };
    let merged = entries.iter().filter_map(|(key, value)| {
        let value = match key.text().and_then(|name| Some((name, base.get(name)?))) {
            Some((name, base)) => merge(name, base, value)?,
            None => value.clone(),
        };
        Some((key.clone(), value))
    });
    let added = base_entries
        .iter()
        .filter(|(key, _)| key.text().is_none_or(|name| over.get(name).is_none()));
    let kind = NodeKind::Map(merged.chain(added.cloned()).collect());
    YamlNode { location: over.location, bytes: over.bytes, kind }
}

/// The requests beside that for one task.
const FURTHER_REQUESTS: [&str; 2] = ["batch", "list"];

/// Returns the preset's request, to be merged with the user's. Its batch and its list belong to the
/// preset's own request, so they are left out where the user's request differs, unless the user has
/// them too.
fn for_request(base: &YamlNode, over: &YamlNode) -> YamlNode {
    let is_another_request = REQUEST_KEYS.iter().any(|key| over.get(key).is_some());
    let mut base = base.clone();
    if is_another_request && let NodeKind::Map(entries) = &mut base.kind {
        let is_kept = |key: &str| !FURTHER_REQUESTS.contains(&key) || over.get(key).is_some();
        entries.retain(|(key, _)| key.text().is_none_or(is_kept));
    }
    base
}

fn deep(base: &YamlNode, over: &YamlNode) -> Option<YamlNode> {
    match over.kind {
        NodeKind::Null => None,
        _ => Some(blocks(base, over, |_, base, over| deep(base, over))),
    }
}

/// Merges authorization blocks. Another header than the preset's is not sent with the preset's scheme,
/// and the preset's header becomes one of its alternatives, which are never sent together with it.
fn authorization(base: &YamlNode, over: &YamlNode) -> YamlNode {
    let header =
        |block: &YamlNode| block.get("header").and_then(YamlNode::text).map(str::to_lowercase);
    let base_header = header(base).unwrap_or_else(|| "authorization".to_owned());
    let mut merged = blocks(base, over, |_, _, over| Some(over.clone()));
    if header(over).is_some_and(|header| header != base_header)
        && let NodeKind::Map(entries) = &mut merged.kind
    {
        entries.retain(|(key, _)| key.text() != Some("type") || over.get("type").is_some());
        let made = |kind| YamlNode { location: base.location, bytes: base.bytes, kind };
        let alternative = made(NodeKind::Text(base_header.into()));
        match entries.iter_mut().find(|(key, _)| key.text() == Some("alternatives")) {
            Some((_, YamlNode { kind: NodeKind::List(list), .. })) => list.push(alternative),
            Some(_) => {}
            None => {
                let key = made(NodeKind::Text("alternatives".into()));
                entries.push((key, made(NodeKind::List(vec![alternative]))));
            }
        }
    }
    merged
}

/// Merges headers. The user's header replaces the preset's of the same name, in any case.
fn headers(base: &YamlNode, over: &YamlNode) -> YamlNode {
    let (NodeKind::Map(base_entries), NodeKind::Map(entries)) = (&base.kind, &over.kind) else {
        return over.clone();
    };
    let same = |a: &YamlNode, b: &YamlNode| match (a.text(), b.text()) {
        (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
        _ => false,
    };
    let added =
        base_entries.iter().filter(|(base, _)| !entries.iter().any(|(key, _)| same(base, key)));
    let kind = NodeKind::Map(entries.iter().chain(added).cloned().collect());
    YamlNode { location: over.location, bytes: over.bytes, kind }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::effective;
    use crate::yaml::tree;
    use std::path::Path;

    #[test]
    fn every_preset_loads() {
        assert!(NAMES.is_sorted());
        for name in NAMES {
            let text = format!("providers: [{{ name: x, preset: {name}, base_url: http://x }}]");
            let loaded = crate::config::load_text("x.yml", &text, Path::new(""));
            assert_eq!(loaded.map_err(|diagnostics| diagnostics.to_string()).err(), None, "{name}");
        }
    }

    fn merged(preset: &str, over: &str) -> String {
        let (preset, over) = (tree::parse(preset, 0), tree::parse(over, 1));
        serde_yaml::to_string(&effective::value(&merge(&preset.unwrap(), &over.unwrap()))).unwrap()
    }

    #[test]
    fn a_batch_goes_with_its_request() {
        let preset = "request: {path: /a, batch: {path: /b}}";
        assert!(merged(preset, "request: {method: GET}").contains("path: /a"));
        assert!(!merged(preset, "request: {path: /c}").contains("batch"));
        assert!(merged(preset, "request: {path: /c, batch: {path: /d}}").contains("path: /d"));
        assert!(!merged(preset, "request: {path: /c, batch: null}").contains("batch"));
        assert!(merged(preset, "response: {task: /x}").contains("path: /b"));
    }

    #[test]
    fn a_list_goes_with_its_request() {
        let preset = "request: {path: /a, list: {path: /b, window: true}}";
        assert!(!merged(preset, "request: {query: {}}").contains("list"));
        let own = merged(preset, "request: {path: /c, list: {path: /d}}");
        assert!(own.contains("path: /d") && own.contains("window: true"), "{own}");
        assert!(merged(preset, "request: {batch: {path: /c}}").contains("path: /b"));
        assert!(!merged(preset, "request: {list: null}").contains("list"));
    }

    #[test]
    fn the_mapping_is_merged_at_every_depth() {
        let preset = "response: {id: /id, status: /s, states: {running: [a], failed: [b]}}";
        let over = "{name: x, response: {id: null, status: /t, states: {running: [c, d]}}}";
        let expected = "name: x\nresponse:\n  status: /t\n  states:\n    running:\n    - c\n    - d\n    failed:\n    - b\n";
        assert_eq!(merged(preset, over), expected);
    }

    #[test]
    fn a_preset_may_have_limits() {
        let preset = "{body_size_limit: 8MiB, poll_interval: 1m}";
        let expected = "name: x\nbody_size_limit: 8MiB\npoll_interval: 1m\n";
        assert_eq!(merged(preset, "name: x"), expected);
        let over = "{name: x, body_size_limit: 1KiB}";
        assert!(merged(preset, over).contains("body_size_limit: 1KiB"));
    }

    #[test]
    fn another_header_drops_the_scheme() {
        let preset = "authorization: {header: x-key, type: Key, alternatives: [x-b]}";
        let same = "authorization: {header: X-Key, credentials_file: t}";
        let other = "authorization: {header: x-other, credentials_file: t}";
        assert!(merged(preset, same).contains("type: Key"));
        assert!(!merged(preset, other).contains("type"));
        assert!(merged(preset, other).contains("- x-b\n  - x-key"));
    }

    #[test]
    fn a_header_is_replaced_whole_in_any_case() {
        let preset = "http_headers: {X-Version: {values: [\"1\"]}, x-b: {values: [b]}}";
        let over = "http_headers: {x-version: {files: [f]}}";
        let expected =
            "http_headers:\n  x-version:\n    files:\n    - f\n  x-b:\n    values:\n    - b\n";
        assert_eq!(merged(preset, over), expected);
    }
}
