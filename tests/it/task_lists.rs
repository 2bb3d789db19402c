//! Pages, orders, labels and the search of `/tasks` and `/api/v1/tasks`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Exporter, Gateway, eventually, http};
use crate::pages::{ids, links, page, text, unescape};

/// Returns the answer to a request for a page of the JSON.
fn json_page(exporter: &Exporter, query: &str) -> Value {
    let reply = exporter.get(&format!("/api/v1/tasks?{query}"));
    assert_eq!(reply.status, 200, "{query}: {}", reply.text());
    // One task per line here too.
    let lines = reply.text().lines().filter(|line| line.starts_with("{\"duration")).count();
    assert_eq!(lines, reply.json()["tasks"].as_array().unwrap().len());
    reply.json()
}

fn task_ids(page: &Value) -> Vec<String> {
    let tasks = page["tasks"].as_array().unwrap().iter();
    tasks.map(|task| task["task_id"].as_str().unwrap().to_owned()).collect()
}

/// Returns the target of the link of a page with this `rel`.
fn linked(html: &str, rel: &str) -> Option<String> {
    let (before, _) = html.split_once(&format!("\" rel=\"{rel}\""))?;
    Some(unescape(before.rsplit_once("href=\"").unwrap().1))
}

#[test]
fn the_pages_of_a_fleet_together_are_all_tasks() {
    let exporter = Exporter::start_idle(450, 300, &[]);
    let mut shown = Vec::new();
    let mut target = "/tasks?sort=-task_id".to_owned();
    for (summary, has_next) in [
        (" Tasks 1 to 200 of 450, sorted by task_id, descending. ", true),
        (" Tasks 201 to 400 of 450, sorted by task_id, descending. ", true),
        (" Tasks 401 to 450 of 450, sorted by task_id, descending. ", false),
    ] {
        let reply = page(&exporter, &target);
        assert!(text(reply.text()).contains(summary), "{summary}");
        shown.push(ids(&exporter, target.strip_prefix("/tasks").unwrap()));
        let next = linked(reply.text(), "next");
        assert_eq!(next.is_some(), has_next, "{target}");
        let first = links(reply.text()).into_iter().any(|link| link == "/tasks?sort=-task_id");
        assert_eq!(first, target.contains("cursor"), "the first page is linked from the others");
        target = next.unwrap_or(target);
    }
    let all = shown.concat();
    assert!(all.is_sorted_by(|a, b| a >= b) && all.len() == 450);
    for expected in [&shown[1], &shown[0]] {
        target = linked(page(&exporter, &target).text(), "prev").unwrap();
        assert_eq!(ids(&exporter, target.strip_prefix("/tasks").unwrap()), *expected);
    }
    assert_eq!(linked(page(&exporter, &target).text(), "prev"), None);

    for sort in ["worst", "-worst", "age", "status", "-error", "last_poll", "-provider"] {
        let (mut all, mut cursor) = (BTreeSet::new(), String::new());
        loop {
            let page = json_page(&exporter, &format!("sort={sort}&limit=97{cursor}"));
            assert_eq!(page["total"], 450);
            all.extend(task_ids(&page));
            match page["next_cursor"].as_str() {
                // The order is in the cursor, and may be repeated.
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(all.len(), 450, "{sort}");
    }
    // Without a word about pages, the answer is as it was.
    let whole = exporter.get("/api/v1/tasks").json();
    assert_eq!(whole.as_object().unwrap().keys().collect::<Vec<_>>(), ["tasks"]);
    assert_eq!(whole["tasks"].as_array().unwrap().len(), 450);
    assert_eq!(json_page(&exporter, "limit=1000")["tasks"].as_array().unwrap().len(), 450);
    assert_eq!(json_page(&exporter, "sort=age")["tasks"].as_array().unwrap().len(), 200);
    let none = json_page(&exporter, "limit=5&search=%20x%20");
    assert_eq!(
        none,
        json!({ "tasks": [], "total": 0, "previous_cursor": null, "next_cursor": null })
    );
}

#[test]
fn cursors_that_no_page_gave_are_refused() {
    let exporter = Exporter::start_idle(9, 20, &[]);
    let cursor = json_page(&exporter, "limit=2")["next_cursor"].as_str().unwrap().to_owned();
    let refused = |query: &str| {
        for endpoint in ["/tasks", "/api/v1/tasks"] {
            let reply = exporter.get(&format!("{endpoint}?{query}"));
            assert_eq!(reply.status, 400, "{endpoint}?{query}: {}", reply.text());
            assert!(reply.text().contains("cursor"), "{}", reply.text());
        }
    };
    for end in 1..cursor.len() {
        refused(&format!("cursor={}", &cursor[..end]));
        let flipped = if cursor.as_bytes()[end] == b'A' { "B" } else { "A" };
        refused(&format!("cursor={}{flipped}{}", &cursor[..end], &cursor[end + 1..]));
    }
    for more in ["AAAA", "=", "%00", "%C3%A9", "%20"] {
        refused(&format!("cursor={cursor}{more}"));
    }
    refused(&format!("cursor={}", "A".repeat(20_000)));
    refused(&format!("cursor={cursor}&sort=age"));
    refused(&format!("cursor={cursor}&cursor={cursor}"));
    assert_eq!(task_ids(&json_page(&exporter, &format!("cursor={cursor}"))).len(), 7);
    let more = format!("cursor={cursor}&sort=worst&limit=3");
    assert_eq!(task_ids(&json_page(&exporter, &more)).len(), 3);
    // It is a place, so another filter has one too.
    let one = format!("cursor={cursor}&search=00007");
    assert_eq!(task_ids(&json_page(&exporter, &one)).len(), 1);
    let behind = page(&exporter, &format!("/tasks?cursor={cursor}&search=00001"));
    let content = text(behind.text());
    assert!(content.ends_with(" No task is on this page any more. First page"), "{content}");
}

#[test]
fn labels_lead_to_the_tasks_that_have_them() {
    let hostile = "a=b&sort=x#\"><script>é";
    let tasks = json!([
        { "id": "one", "labels": { "customer": "acme", "plan": "gold" } },
        { "id": "two", "labels": { "customer": "acme" } },
        { "id": "three", "labels": { "customer": hostile, "_1": "" } },
        { "id": "four" },
        { "id": "x".repeat(1_000), "labels": { "customer": "long" } },
        { "id": "x".repeat(3_000), "labels": { "customer": "long" } },
        { "id": "five", "labels": { "a": "1", "b": "2", "c": "3", "d": "4", "e": "5", "f": "6", "g": "7" } },
    ]);
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 1y }}\ntasks: {tasks}\n\
         providers: [{{ name: p, preset: mjdjourney, base_url: 'http://127.0.0.1:1' }}]\n"
    ));
    let all = page(&exporter, "/tasks?sort=task_id&stuck=false");
    assert!(!all.text().contains("<script>é"), "{}", all.text());
    for (name, value, expected) in [
        ("customer", "acme", &["one", "two"][..]),
        ("plan", "gold", &["one"]),
        ("customer", hostile, &["three"]),
        ("a", "1", &["five"]),
    ] {
        let link = format!("/tasks?stuck=false&label.{name}={}&sort=task_id", http::encode(value));
        assert!(links(all.text()).contains(&link), "{link}: {:?}", links(all.text()));
        assert_eq!(ids(&exporter, link.strip_prefix("/tasks").unwrap()), expected, "{link}");
    }
    // A link replaces the value of the same label, and keeps others.
    let acme = links(page(&exporter, "/tasks?label.customer=acme").text());
    assert!(acme.contains(&"/tasks?label.customer=acme&label.plan=gold".to_owned()), "{acme:?}");
    // A long filter is not repeated in the link of each label.
    for (id, link_count) in [("x".repeat(1_000), 1), ("x".repeat(3_000), 0)] {
        let found = page(&exporter, &format!("/tasks?task_id={id}"));
        assert!(text(found.text()).contains(" customer=long "), "{}", found.text());
        let links = links(found.text()).into_iter();
        let of_label = links.filter(|link| link.ends_with("&label.customer=long"));
        assert_eq!(of_label.count(), link_count, "{}", id.len());
    }
    let content = text(all.text());
    assert!(
        content.contains(" customer=acme plan=gold ")
            && content.contains(&format!(" customer={hostile} "))
    );
    assert!(content.contains(" a=1 b=2 c=3 d=4 e=5 f=6 … "), "{content}");
    // The form has a field for each of the first names, and for those that are asked for.
    let fields = |target: &str| {
        let html = page(&exporter, target).text().to_owned();
        let fields = html.split("name=\"label.").skip(1);
        let field = |rest: &str| {
            let (name, rest) = rest.split_once("\" value=\"").unwrap();
            format!("{name}={}", unescape(rest.split_once('"').unwrap().0))
        };
        fields.map(field).collect::<Vec<_>>()
    };
    assert_eq!(fields("/tasks"), ["_1=", "a=", "b=", "c=", "customer=", "d="]);
    assert_eq!(fields("/tasks?label.g=7")[..2], ["g=7", "_1="]);
    assert_eq!(ids(&exporter, "?label._1=&label.a=&label.customer=acme&search=NE"), ["one"]);
    assert!(page(&exporter, "/tasks?sort=-age").text().contains("name=\"sort\" value=\"-age\""));
}

#[test]
fn every_header_sorts_its_column() {
    let exporter = Exporter::start_idle(3, 8, &[]);
    let all = page(&exporter, "/tasks");
    assert_eq!(all.text().matches("aria-sort").count(), 0, "the worst first is no column");
    assert_eq!(all.text().matches("<th scope=\"col\"").count(), 9);
    for name in ["provider", "task_id", "state", "status", "age", "progress", "error", "last_poll"]
    {
        let first = if name == "age" { "-age" } else { name };
        let (target, order) =
            (format!("/tasks?sort={first}"), if name == "age" { "de" } else { "a" });
        assert!(links(all.text()).contains(&target), "{target}");
        let sorted = page(&exporter, &target);
        assert_eq!(sorted.status, 200);
        assert_eq!(sorted.text().matches(&format!("aria-sort=\"{order}scending\"")).count(), 1);
        let reverse = if name == "age" { name.to_owned() } else { format!("-{name}") };
        let links = links(sorted.text());
        assert!(links.contains(&format!("/tasks?sort={reverse}")), "{links:?}");
        assert!(links.iter().filter(|link| *link == "/tasks").count() > 1, "the worst first");
    }
    assert_eq!(ids(&exporter, "?sort=-task_id"), ["00000002", "00000001", "00000000"]);
}

#[test]
fn the_last_failure_is_there_in_words() {
    let gateway = Gateway::start();
    let history = "--history.limit=1";
    let config = format!(
        "global: {{ poll_interval: 200ms }}\n\
         providers: [{}, {{ name: gone, preset: mjdjourney, base_url: 'http://127.0.0.1:1' }}]\n\
         tasks:\n\
         - {{ provider: p, id: broken-1 }}\n\
         - {{ provider: p, id: broken-2 }}\n\
         - {{ provider: p, id: garbage-1 }}\n\
         - {{ provider: p, id: ok-1 }}\n\
         - {{ provider: gone, id: any }}\n",
        gateway.provider("p", "")
    );
    let exporter = Exporter::start_in(crate::harness::Dir::with(&config), &[history]);
    let detail = |id: &str| {
        let found = exporter.get(&format!("/api/v1/tasks?task_id={id}")).json();
        found["tasks"][0]["error_detail"].as_str().map(str::to_owned)
    };
    // Long after the history of all tasks has forgotten it.
    for (id, provider, expected) in [
        ("broken-1", "p", "HTTP status 500"),
        ("broken-2", "p", "HTTP status 500"),
        ("garbage-1", "p", "not JSON: "),
        ("any", "gone", "refused"),
    ] {
        let detail = eventually("every poll has failed", || detail(id));
        assert!(detail.contains(expected), "{id}: {detail}");
        let of_task = text(page(&exporter, &format!("/tasks/{provider}/{id}")).text());
        assert!(of_task.contains(&format!(": {detail} ")), "{detail}: {of_task}");
        assert!(of_task.contains(" State no answer yet "), "{of_task}");
        let row = text(page(&exporter, &format!("/tasks?task_id={id}")).text());
        let start: String = detail.chars().take(40).collect();
        assert!(row.contains(&start) && row.contains(" no answer yet "), "{detail}: {row}");
        assert!(!row.contains(" unpolled "), "{row}");
    }
    eventually("an answer", || detail("ok-1").is_none().then_some(()));
    // The state of the metrics keeps its name.
    let unpolled = exporter.scrape();
    let labels = [("task_id", "any"), ("state", "unpolled")];
    assert_eq!(unpolled.value("aitask_status", &labels), Some(1.0));
}
