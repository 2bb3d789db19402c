//! The first line is the format of a list, `json`, `yaml` or `lines`; the rest is the list.

use std::collections::HashSet;
use std::path::Path;
use std::sync::LazyLock;

use aitask_exporter::clock::Timestamp;
use aitask_exporter::config::discovery::ListFormat;
use aitask_exporter::config::{self, Config};
use aitask_exporter::discovery::list::{RefreshError, SourceList};
use aitask_exporter::discovery::list_builder::ListBuilder;
use aitask_exporter::discovery::list_parser;
use aitask_exporter::printable::is_printable;
use aitask_exporter::task::check_id;

/// Two providers, of which one needs a param, and small limits.
const CONFIG: &str = "
global: { label_limit: 3, label_name_length_limit: 16, label_value_length_limit: 16 }
providers: [{ name: mj, preset: mjdjourney }, { name: kling, preset: kling }]
file_sd_configs: [{ name: jobs, files: [a.txt], provider: mj, labels: { app: studio } }]
";
/// Maximum number of elements.
const MAX_ELEMENTS: usize = 20;
/// 2026-11-30T07:00:00Z
const NOW: i64 = 1_796_022_000_000_000;
/// Maximum depth of a document.
const MAX_DEPTH: usize = 128;

static LOADED: LazyLock<Config> =
    LazyLock::new(|| config::load_text("c.yml", CONFIG, Path::new("")).unwrap().config);

pub fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let format = match &data[..end] {
        b"json" => ListFormat::Json,
        b"yaml" => ListFormat::Yaml,
        b"lines" => ListFormat::Lines,
        _ => return,
    };
    let content = data.get(end + 1..).unwrap_or_default();
    let list = parse(content, format, MAX_ELEMENTS);
    if format == ListFormat::Json {
        hold_to_serde(content, list.as_ref());
    }
    match list {
        Ok(list) => {
            check(&list);
            assert_eq!(parse(content, format, MAX_ELEMENTS).as_ref(), Ok(&list));
            // A tighter limit either changes nothing or is exceeded.
            if let Ok(again) = parse(content, format, MAX_ELEMENTS / 2) {
                assert_eq!(again, list);
            }
        }
        Err(error) => assert!(error.message.chars().all(is_printable), "{error}"),
    }
}

fn parse(
    content: &[u8],
    format: ListFormat,
    max_elements: usize,
) -> Result<SourceList, RefreshError> {
    let Config { discovery, providers, label_limits, .. } = &*LOADED;
    let now = Timestamp::from_micros(NOW);
    let mut list = ListBuilder::new(&discovery[0], providers, *label_limits, now, max_elements);
    list_parser::parse(content.to_vec(), format, &mut list).map(|()| list.finish())
}

/// Whatever the list is, its tasks obey the rules, and no two are equal.
fn check(list: &SourceList) {
    let mut seen = HashSet::new();
    for listed in &list.tasks {
        let common = &listed.task.common;
        assert!(seen.insert((&*common.provider, &*listed.task.id)), "{listed:?}");
        assert_eq!(check_id(&listed.task.id), Ok(()), "{listed:?}");
        let provider = LOADED.providers.iter().find(|known| known.name == common.provider).unwrap();
        assert_eq!(provider.check_id(&listed.task.id), Ok(()), "{listed:?}");
        assert_eq!(common.params.len(), usize::from(&*common.provider == "kling"), "{listed:?}");
        assert!(common.labels.len() <= 3 && common.labels.is_sorted(), "{listed:?}");
        for (name, value) in &*common.labels {
            assert!(name.len() <= 16 && value.len() <= 16, "{listed:?}");
        }
        assert!(listed.enqueue_time.is_none_or(|time| time.micros() > 0), "{listed:?}");
    }
    for rejected in list.rejected.first() {
        let texts = rejected.message.chars().chain(rejected.element.chars());
        assert!(texts.clone().all(is_printable), "{rejected:?}");
        assert!(texts.count() < 400, "{rejected:?}");
    }
    assert!(list.tasks.len() + list.rejected.total() <= MAX_ELEMENTS);
}

/// A list is one exactly if serde_json says so, but for great depth, great numbers and halves of
/// surrogate pairs.
fn hold_to_serde(content: &[u8], list: Result<&SourceList, &RefreshError>) {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let value = serde_json::from_slice::<serde_json::Value>(content);
    match (value, list) {
        (Ok(serde_json::Value::Array(_)), Err(error)) => {
            let brackets = content.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
            assert!(error.message.starts_with("more than") || brackets > MAX_DEPTH, "{error}");
        }
        (Ok(serde_json::Value::Array(_)), Ok(_)) | (_, Err(_)) => {}
        (Ok(value), Ok(_)) => panic!("{value} counts as a list"),
        (Err(error), Ok(_)) => {
            let is_text = String::from_utf8_lossy(content).contains("\\u");
            let message = error.to_string();
            let is_known = ["number out of range", "recursion limit"];
            assert!(is_text || is_known.iter().any(|known| message.contains(known)), "{error}");
        }
    }
}
