//! The bytes are a param and the IDs of tasks, parted by NUL: whatever they are, the request for them
//! goes where the configuration says, and says which they are.

use std::sync::LazyLock;

use aitask_exporter::config;
use aitask_exporter::fetch::HttpRequest;
use aitask_exporter::fetch::resolver::Resolver;
use aitask_exporter::poll::ProviderClient;
use aitask_exporter::task::{TaskGroup, check_id, check_segments};
use percent_encoding::percent_decode_str;
use serde_json::json;

use crate::harness::root;

/// Maximum number of tasks: more than any preset requests at once.
const MOST_TASKS: usize = 50;

const PROVIDERS: &str = "
providers:
  - name: paths
    base_url: https://gateway.example:8443/v1/a%20b/
    request:
      path: /tasks/{task_id}/of:{kind}/{task_id}/x
      query: { 'a&b': 'of {kind}=', ids: '{task_id},{task_id}' }
    response: &response { status: /status, states: { running: [run] } }
  - name: kept
    base_url: https://gateway.example
    request: { path: '/kept/{+task_id}/{+kind}/x' }
    response: *response
  - name: bodies
    base_url: http://gateway.example
    request:
      method: POST
      path: /fetch
      body: { ids: ['{task_id}'], '{': 'of {kind}', deep: [{ id: '{task_id}', n: 1 }] }
      batch: { method: POST, path: /batch, body: { ids: ['{task_ids}'], kind: '{kind}' } }
    response: *response
";

static CLIENTS: LazyLock<Vec<ProviderClient>> = LazyLock::new(|| {
    aitask_exporter::tls::install();
    let loaded = config::load_text("requests.yml", PROVIDERS, &root("fuzz"));
    let providers = loaded.unwrap_or_else(|told| panic!("{told}")).config.providers;
    let resolver = Resolver::system();
    let client = |provider| {
        ProviderClient::new(provider, None, &resolver).unwrap_or_else(|told| panic!("{told}"))
    };
    providers.into_iter().map(client).collect()
});

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut texts = text.split('\0');
    let kind = texts.next().unwrap_or_default();
    let params = [("kind".to_owned(), kind.to_owned())];
    let [paths, kept, bodies] = &CLIENTS[..] else { panic!("three providers") };
    let mut tasks = Vec::new();
    for id in texts.take(MOST_TASKS) {
        let task = paths.task(id, &params);
        let is_right = check_id(id).is_ok() && check_id(kind).is_ok();
        assert_eq!(task.is_ok(), is_right, "{id:?} of {kind:?}");
        assert_eq!(bodies.task(id, &params).is_ok(), is_right);
        let parts = is_right && check_segments(id).is_ok() && check_segments(kind).is_ok();
        assert_eq!(kept.task(id, &params).is_ok(), parts, "{id:?} of {kind:?}");
        let Ok(task) = task else { continue };
        let one = TaskGroup::one(task.clone());
        check_path(&request(paths, &one, false), id, kind);
        if parts {
            check_kept(&request(kept, &one, false), id, kind);
        }
        let body =
            json!({ "ids": [id], "{": format!("of {kind}"), "deep": [{ "id": id, "n": 1 }] });
        check_body(&request(bodies, &one, false), "http://gateway.example/fetch", &body);
        tasks.push(task);
    }
    if let Some(group) = TaskGroup::collect(tasks) {
        assert!(group.iter().all(|task| task.group() == group.first().group()));
        let ids: Vec<_> = group.iter().map(|task| &*task.id).collect();
        let body = json!({ "ids": ids, "kind": kind });
        check_body(&request(bodies, &group, true), "http://gateway.example/batch", &body);
    }
}

fn request(client: &ProviderClient, tasks: &TaskGroup, is_batch: bool) -> HttpRequest {
    let built = client.fetcher.build_request(&client.provider, tasks, is_batch);
    built.unwrap_or_else(|failure| panic!("{tasks:?}: {failure:?}"))
}

fn check_path(request: &HttpRequest, id: &str, kind: &str) {
    let url = &request.url;
    // A browser's idea of the URL, and ours of its text.
    assert!(url.as_str().starts_with("https://gateway.example:8443/v1/a%20b/tasks/"), "{url}");
    assert!(url.as_str().bytes().all(|byte| byte.is_ascii_graphic()), "{url}");
    assert_eq!(
        (url.fragment(), request.body.as_deref(), request.method.as_str()),
        (None, None, "GET")
    );
    assert_eq!(url.join(url.as_str()).as_ref(), Ok(url));
    let segments: Vec<_> = url.path().split('/').skip(1).map(decode).collect();
    let of = format!("of:{kind}");
    assert_eq!(segments, ["v1", "a b", "tasks", id, &of, id, "x"], "{url}");
    let pairs = url.query().unwrap_or_default().split('&');
    let pairs: Vec<Vec<_>> = pairs.map(|pair| pair.split('=').map(decode).collect()).collect();
    let expected = [["a&b", &format!("of {kind}=")], ["ids", &format!("{id},{id}")]];
    assert_eq!(pairs, expected.map(|pair| pair.map(str::to_owned).to_vec()), "{url}");
}

/// Asserts that each slash of a value separates segments, and that no segment leads elsewhere.
fn check_kept(request: &HttpRequest, id: &str, kind: &str) {
    let url = &request.url;
    assert!(url.as_str().starts_with("https://gateway.example/kept/"), "{url}");
    let parts = ["kept"].into_iter().chain(id.split('/')).chain(kind.split('/')).chain(["x"]);
    assert!(url.path().split('/').skip(1).map(decode).eq(parts), "{url}");
    assert_eq!((url.query(), url.fragment()), (None, None));
}

fn check_body(request: &HttpRequest, url: &str, expected: &serde_json::Value) {
    assert_eq!((request.url.as_str(), request.method.as_str()), (url, "POST"));
    let body = request.body.as_deref().unwrap_or_default();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(body).as_ref().ok(), Some(expected));
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}
