//! The JSON Schema of the configuration, generated from the structs in `raw`. A test generates the tables
//! of keys in `docs` from the same comments.

use schemars::Schema;
use serde_json::{Map, Value, json};

use super::raw::RawConfig;

/// The blocks of a preset's mapping, in which null removes a key of the preset.
const MERGED: [&str; 5] =
    ["RawRequest", "RawBatch", "RawListRequest", "RawResponse", "RawLongField"];

/// The beginning of the comment of a provider's key whose meaning is that of `global`'s.
const AS_UNDER_GLOBAL: &str = "As under `global`.";

/// Returns the JSON Schema of a configuration file.
pub fn schema() -> String {
    let mut schema = schemars::schema_for!(RawConfig);
    let globals = schema.pointer("/$defs/RawGlobal/properties").cloned().unwrap_or_default();
    for (name, properties) in blocks(&mut schema) {
        for (key, property) in properties {
            describe(property, globals.get(key).unwrap_or(&Value::Null));
            if MERGED.contains(&name) {
                allow_null(property);
            }
        }
    }
    if let Some(provider) = schema.pointer_mut("/$defs/RawProvider").and_then(Value::as_object_mut)
    {
        let mapping = json!({ "required": ["request", "response"] });
        provider.insert("anyOf".to_owned(), json!([{ "required": ["preset"] }, mapping]));
    }
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// Returns the properties of each block of the schema, by the name of its struct.
fn blocks(schema: &mut Schema) -> impl Iterator<Item = (&str, &mut Map<String, Value>)> {
    let definitions = schema.get_mut("$defs").and_then(Value::as_object_mut);
    definitions.into_iter().flatten().filter_map(|(name, definition)| {
        Some((name.as_str(), definition.get_mut("properties")?.as_object_mut()?))
    })
}

/// Completes the description of a property for editors: with the meaning of `global`'s key where that
/// applies and with the default, and without links, which lead from the documents.
fn describe(property: &mut Value, global: &Value) {
    let comment = comment(property);
    let mut text = match comment.strip_prefix(AS_UNDER_GLOBAL) {
        Some(rest) => self::comment(global) + rest,
        None => comment,
    };
    if let Some(default) = default(property) {
        text += &format!(" Default: {default}.");
    }
    if let Some(description) = property.get_mut("description") {
        *description = without_links(&text).into();
    }
}

/// Returns the comment of a key as one line.
fn comment(property: &Value) -> String {
    let text = property.get("description").and_then(Value::as_str);
    text.unwrap_or_default().replace('\n', " ")
}

/// Returns the default of a key as code, if it is a value.
fn default(property: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let default = property.get("default")?;
    let items = default.as_array().map(|items| items.iter().map(text).collect::<Vec<_>>());
    Some(format!(
        "`{}`",
        items.map_or_else(|| text(default), |items| format!("[{}]", items.join(", ")))
    ))
}

/// Returns a text in Markdown with the words of each link in its place.
fn without_links(text: &str) -> String {
    let Some((before, rest)) = text.split_once("](") else { return text.to_owned() };
    let words = before.rsplit_once('[').zip(rest.split_once(')'));
    let Some(((before, words), (_, after))) = words else { return text.to_owned() };
    format!("{before}{words}{}", without_links(after))
}

/// Makes null a value of a key, and of each key in a table that it holds.
fn allow_null(property: &mut Value) {
    if let Some(values) = property.get_mut("additionalProperties") {
        *values = json!({ "anyOf": [values.take(), { "type": "null" }] });
    }
    *property = json!({ "anyOf": [property.take(), { "type": "null" }] });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Blocks without a table: their keys are explained in the text.
    const WITHOUT_TABLE: [&str; 2] = ["RawBatch", "RawRefine"];

    /// Returns the row of each key of a block, with the key. `prefix` is the path of the block.
    fn rows(definition: &Value, prefix: &str) -> Vec<(String, String)> {
        let required = definition["required"].as_array().into_iter().flatten();
        let required: Vec<_> = required.filter_map(Value::as_str).collect();
        let row = |(key, property): (&String, &Value)| {
            let comment = comment(property);
            let (meaning, words) = match comment.split_once(" Default: ") {
                Some((meaning, words)) => (meaning, words.strip_suffix('.').unwrap()),
                None if required.contains(&key.as_str()) => (&*comment, "required"),
                None => (&*comment, "–"),
            };
            assert!(meaning.ends_with('.') && !meaning.contains('|'), "{key}: {meaning}");
            let default = default(property).unwrap_or_else(|| words.to_owned());
            let key = format!("`{prefix}{key}`");
            (key.clone(), format!("| {key} | {default} | {meaning} |\n"))
        };
        definition["properties"].as_object().unwrap().iter().map(row).collect()
    }

    /// Returns a document with its tables of keys renewed: those after `<!-- keys: … -->`, which names
    /// the structs of the blocks, each after the path of its keys. A row stays where it is; those of
    /// new keys are added at the end. Removes the blocks from `missing`.
    fn with_tables(text: &str, schema: &Value, missing: &mut BTreeSet<&str>) -> String {
        let mut parts = text.split("<!-- keys: ");
        let mut new = parts.next().unwrap().to_owned();
        for part in parts {
            let (blocks, rest) = part.split_once(" -->\n\n").unwrap();
            let (table, rest) = rest.split_once("\n\n").unwrap();
            let mut known = Vec::new();
            for block in blocks.split(' ') {
                let at = block.find("Raw").unwrap();
                assert!(missing.remove(&block[at..]), "{block} is unknown or has another table");
                known.extend(rows(&schema["$defs"][&block[at..]], &block[..at]));
            }
            let key =
                |row: &str| row.split(" | ").next().unwrap().trim_matches(['|', ' ']).to_owned();
            let written: Vec<_> = table.lines().map(key).collect();
            known.sort_by_key(|(key, _)| {
                written.iter().position(|other| other == key).unwrap_or(usize::MAX)
            });
            new += &format!(
                "<!-- keys: {blocks} -->\n\n| Key | Default | Meaning |\n| --- | --- | --- |\n"
            );
            new.extend(known.into_iter().map(|(_, row)| row));
            new += &format!("\n{rest}");
        }
        new
    }

    #[test]
    fn the_reference_of_keys_is_fresh() {
        let schema = schemars::schema_for!(RawConfig).to_value();
        let blocks = schema["$defs"].as_object().unwrap().iter();
        let blocks = blocks.filter(|(_, block)| block.get("properties").is_some());
        let mut missing: BTreeSet<_> = blocks.map(|(name, _)| name.as_str()).collect();
        for document in ["configuration", "providers"] {
            let path = format!("{}/docs/{document}.md", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(&path).unwrap();
            let fresh = with_tables(&text, &schema, &mut missing);
            let fresh = fresh.replace(&format!("]({document}.md#"), "](#");
            if std::env::var_os("UPDATE_GENERATED").is_some() {
                std::fs::write(&path, &fresh).unwrap();
            } else {
                assert!(text == fresh, "docs/{document}.md is stale: make generate");
            }
        }
        assert_eq!(missing, BTreeSet::from(WITHOUT_TABLE));
    }

    #[test]
    fn a_description_has_the_default_and_no_links() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        let description =
            |at: &str| schema.pointer(&format!("/$defs/{at}/description")).unwrap().as_str();
        let global = description("RawGlobal/properties/body_size_limit").unwrap();
        let meaning = global.strip_suffix(" Default: `1MiB`.").unwrap();
        assert!(meaning.contains("Values before the limit count."), "{meaning}");
        let provider = description("RawProvider/properties/body_size_limit").unwrap();
        assert_eq!(provider, format!("{meaning} Default: `global`'s."));
        let accept = description("RawResponse/properties/accept/anyOf/0").unwrap();
        assert!(accept.ends_with(" Default: `[2xx]`."), "{accept}");
        assert_eq!(without_links("a[0](b) [c `d`](e#f) [g] (h)"), "a0 c `d` [g] (h)");
    }
}
