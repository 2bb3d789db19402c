//! The body of a response that lists tasks: sources of every form read it, as the first page and as
//! the one after it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::LazyLock;

use aitask_exporter::clock::Timestamp;
use aitask_exporter::config::discovery::{SourceConfig, SourceKind};
use aitask_exporter::config::http_discovery::HttpSourceConfig;
use aitask_exporter::config::{self, Config};
use aitask_exporter::discovery::http::paging::{PageSummary, Pages};
use aitask_exporter::discovery::http::{Page, read_pages};
use aitask_exporter::discovery::list::{RefreshError, SourceList};
use aitask_exporter::printable::is_printable;
use aitask_exporter::task::check_id;

const CONFIG: &str = "
global: { label_limit: 3, label_name_length_limit: 16, label_value_length_limit: 16 }
providers: [{ name: mj, preset: mjdjourney }, { name: kling, preset: kling }]
http_sd_configs:
  - { name: plain, url: 'http://a.test:81/l?k=v', provider: mj, labels: { app: studio } }
  - name: numbered
    url: http://a.test:81/l?k=v
    page: { number: { query: p }, size: { query: n, value: 2 } }
  - name: mapped
    url: http://a.test:81/l?k=v
    provider: mj
    response:
      tasks: /data/items
      id: { path: [/task_id, /id, ''], until: '|' }
      provider: /platform
      enqueue_time: { path: /at, format: epoch }
      labels: { channel: /channel_id, deep: /a/0/b }
      params: { kind: /kind }
    page: { cursor: { query: after, from: /last_id, while: /has_more } }
  - name: chained
    url: http://a.test:81/l?k=v
    provider: mj
    response: { tasks: /data, id: /id, enqueue_time: /at }
    page: { next: /next, size: { query: n, value: 2 } }
  - { name: bare, url: 'http://a.test:81/l?k=v', provider: mj, response: { id: '' } }
";

/// The time at which every response was sent: 2026-11-30T07:00:00Z.
const SENT: Timestamp = Timestamp::from_micros(1_796_022_000_000_000);

/// 1 January 2000, in microseconds.
const YEAR_2000: i64 = 946_684_800_000_000;

static LOADED: LazyLock<Config> = LazyLock::new(|| {
    let loaded = config::load_text("lists.yml", CONFIG, Path::new(""));
    loaded.unwrap_or_else(|told| panic!("{told}")).config
});

pub fn run(data: &[u8]) {
    let page = Page { body: data.to_vec().into(), sent: SENT };
    for source in &LOADED.discovery {
        let SourceKind::Http(http) = &source.kind else { panic!("{source:?}") };
        let read = |pages: &[Page]| {
            read_pages(source, http, &LOADED.providers, LOADED.label_limits, pages)
        };
        let once = read(std::slice::from_ref(&page));
        let twice = read(&[page.clone(), page.clone()]);
        match (once, twice) {
            (Ok(once), Ok(twice)) => {
                list(source, &once);
                // The same elements again are no further tasks.
                assert_eq!(once.tasks, twice.tasks);
                assert_eq!(2 * once.rejected.total(), twice.rejected.total());
            }
            (Err(once), Err(twice)) => {
                error(&once);
                error(&twice);
            }
            other => panic!("{other:?}"),
        }
        follow(http, data);
    }
}

/// Asserts that every task is one that a configuration could have.
fn list(source: &SourceConfig, list: &SourceList) {
    let mut known = HashSet::new();
    for listed in &list.tasks {
        let (task, common) = (&listed.task, &listed.task.common);
        assert!(known.insert((&common.provider, &*task.id)), "{task:?} twice");
        let mut providers = LOADED.providers.iter();
        let provider = providers.find(|provider| provider.name == common.provider).unwrap();
        assert_eq!(check_id(&task.id), Ok(()));
        assert_eq!(provider.check_id(&task.id), Ok(()));
        for name in provider.param_names() {
            let (_, value) = common.params.iter().find(|(known, _)| **known == *name).unwrap();
            assert_eq!(provider.check_param(name, value), Ok(()));
        }
        assert!(common.labels.is_sorted_by(|a, b| a.0 < b.0), "{:?}", common.labels);
        assert!(common.labels.len() <= 3 && source.labels.len() <= common.labels.len());
        for (name, value) in &*common.labels {
            assert!(name.len() <= 16 && value.len() <= 16 && !name.starts_with("__"));
        }
        let time = listed.enqueue_time;
        assert!(time.is_none_or(|time| time.since(SENT).as_secs() <= 300), "{listed:?}");
        assert!(time.is_none_or(|time| time.micros() >= YEAR_2000), "{listed:?}");
    }
    assert!(list.rejected.first().len() <= list.rejected.total());
    for rejected in list.rejected.first() {
        text(&rejected.element);
        text(&rejected.message);
    }
}

/// Asserts that a next page is at the source itself.
fn follow(http: &HttpSourceConfig, body: &[u8]) {
    let Some(paging) = &http.page else { return };
    let summary = match PageSummary::read(http, body) {
        Ok(summary) => summary,
        Err(wrong) => return error(&wrong),
    };
    let base = http.url.expose();
    let mut pages = Pages::new(base, paging);
    assert_eq!(pages.first().origin(), base.origin());
    for _ in 0..3 {
        match pages.next(&summary) {
            Ok(Some(url)) => {
                assert_eq!(url.origin(), base.origin());
                assert!(url.username().is_empty() && url.password().is_none(), "{url}");
                assert!(url.fragment().is_none() && url.as_str().len() <= 8_192, "{url}");
            }
            Ok(None) => break,
            Err(wrong) => {
                error(&wrong);
                break;
            }
        }
    }
}

fn error(wrong: &RefreshError) {
    text(&wrong.message);
}

/// Asserts that a text for people is short and on one line.
fn text(text: &str) {
    assert!(text.len() <= 1_024 && text.chars().all(is_printable), "{text:?}");
}
