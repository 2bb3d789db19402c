//! `/tasks` and the page of each task, as a person on call finds them.

mod browser;
mod conditions;

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::http::{self, Reply};
use crate::harness::{Dir, Exporter, Gateway, eventually, until};

/// The page as a reader sees it.
pub(crate) fn page(exporter: &Exporter, target: &str) -> Reply {
    let reply = exporter.get(target);
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"), "{target}");
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    // One script may run, by its hash: the only one of the page.
    let scripts = policy.split("script-src ").nth(1).unwrap().split(';').next().unwrap();
    assert!(scripts.starts_with("'sha256-") && !scripts.contains(' '), "{policy}");
    assert_eq!(reply.text().matches("<script").count(), 1, "{target}");
    reply
}

/// Decodes the references in HTML.
pub(crate) fn unescape(html: &str) -> String {
    let mut text = html.to_owned();
    for (escaped, c) in
        [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")]
    {
        text = text.replace(escaped, c);
    }
    text
}

/// Returns the text of the page without tags.
pub(crate) fn text(html: &str) -> String {
    let pieces = html.split('<').map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text));
    let text = unescape(&pieces.collect::<Vec<_>>().join(" "));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the targets of the links on the page.
pub(crate) fn links(html: &str) -> Vec<String> {
    let links = html.split(" href=\"").skip(1);
    links.map(|rest| unescape(rest.split_once('"').unwrap().0)).collect()
}

/// The IDs in the table of `/tasks`, in their order, and the row of each.
fn rows(exporter: &Exporter, query: &str) -> Vec<(String, String)> {
    let reply = page(exporter, &format!("/tasks{query}"));
    assert_eq!(reply.status, 200, "{query}");
    let rows = reply.text().split("\n<tr><td").skip(1);
    rows.map(|row| {
        let row = row.split("</tr>").next().unwrap();
        let cells: Vec<_> = row.split("</td>").collect();
        (text(&format!("<{}", cells[1])), text(&format!("<td{row}")))
    })
    .collect()
}

pub(crate) fn ids(exporter: &Exporter, query: &str) -> Vec<String> {
    rows(exporter, query).into_iter().map(|(id, _)| id).collect()
}

/// Follows every link of a page, except those that start a poll.
fn assert_links_resolve(exporter: &Exporter, target: &str, least: usize) {
    let links: BTreeSet<_> = links(page(exporter, target).text()).into_iter().collect();
    assert!(links.len() >= least, "{links:?}");
    for link in links {
        assert_eq!(exporter.get(&link).status, 200, "{link} on {target}");
    }
}

#[test]
fn the_worst_tasks_stand_first_and_each_has_a_page() {
    let gateway = Gateway::start();
    for (id, script) in [
        ("lame", json!({ "enqueued_seconds_ago": 3_600, "steps": [{ "status": "running" }] })),
        ("lamest", json!({ "enqueued_seconds_ago": 7_200, "steps": [{ "status": "queued" }] })),
        (
            "bad",
            json!({ "steps": [{ "status": "running", "seconds": 0.5 }, { "status": "failed" }] }),
        ),
        ("young", json!({ "enqueued_seconds_ago": 5, "steps": [{ "status": "queued" }] })),
        ("old", json!({ "enqueued_seconds_ago": 50, "steps": [{ "status": "running" }] })),
    ] {
        gateway.put(id, &script);
    }
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms, retain_finished: 0s, per_task_series: none }}\n\
         providers: [{}, {}]\n\
         tasks:\n\
         - {{ provider: a, id: 42a28dda-dc7a-4186-ac86-6e16c1fcef17 }}\n\
         - {{ provider: a, id: young }}\n\
         - {{ provider: a, id: code-1203-x }}\n\
         - {{ provider: a, id: lame, labels: {{ customer: acme }} }}\n\
         - {{ provider: a, id: old }}\n\
         - {{ provider: b, id: bad }}\n\
         - {{ provider: b, id: lamest }}\n",
        gateway.provider("a", ""),
        gateway.provider("b", "")
    ));
    let expected = [
        "lamest",
        "lame",
        "bad",
        "code-1203-x",
        "old",
        "young",
        "42a28dda-dc7a-4186-ac86-6e16c1fcef17",
    ];
    let rows = eventually("the worst first", || {
        let rows = rows(&exporter, "");
        let ids: Vec<_> = rows.iter().map(|(id, _)| id.as_str()).collect();
        (ids == expected).then_some(rows)
    });
    let starts = |row: usize, text: &str| assert!(rows[row].1.starts_with(text), "{:?}", rows[row]);
    starts(0, "b lamest queued, stuck 2h queued ");
    starts(1, "a lame running, stuck 1h customer=acme running ");
    starts(2, "b bad failed took ");
    starts(3, "a code-1203-x no answer yet ");
    assert!(rows[3].1.contains(" api, code 1203 ") && rows[3].1.ends_with(" ago"), "{:?}", rows[3]);
    starts(6, "a 42a28dda-dc7a-4186-ac86-6e16c1fcef17 succeeded completed ");
    assert!(text(page(&exporter, "/tasks").text()).contains(" 7 tasks, the worst first. "));

    assert_eq!(ids(&exporter, "?provider=b"), ["lamest", "bad"]);
    assert_eq!(ids(&exporter, "?provider=a&state=queued"), ["young"]);
    assert_eq!(ids(&exporter, "?stuck=true"), ["lamest", "lame"]);
    assert_eq!(ids(&exporter, "?stuck=false&provider=b"), ["bad"]);
    // The query that the form sends if only one field is filled in.
    assert_eq!(ids(&exporter, "?provider=&state=&stuck=&task_id=old"), ["old"]);
    let narrowed = page(&exporter, "/tasks?provider=b&state=queued&stuck=true&task_id=%22%3Cx");
    for chosen in
        ["value=\"b\" selected", "selected>queued", "\"true\" selected>yes", "&#34;&#60;x"]
    {
        assert!(narrowed.text().contains(chosen), "{chosen}: {}", narrowed.text());
    }
    assert!(text(narrowed.text()).ends_with(" No task matches."));
    let several = "?state=queued&state=succeeded&final=&label.customer=%3Cacme";
    assert_eq!(ids(&exporter, several), [""; 0]);
    let narrowed = page(&exporter, &format!("/tasks{several}"));
    // The form keeps what the query has.
    for chosen in
        ["selected>queued", "selected>succeeded", "name=\"label.customer\" value=\"&#60;acme\""]
    {
        assert!(narrowed.text().contains(chosen), "{chosen}: {}", narrowed.text());
    }
    assert_eq!(ids(&exporter, "?state=queued&state=failed"), ["lamest", "bad", "young"]);
    assert_eq!(ids(&exporter, "?final=true&provider=b"), ["bad"]);
    assert_eq!(ids(&exporter, "?final=false&provider=b"), ["lamest"]);
    assert!(page(&exporter, "/tasks?final=true").text().contains("\"true\" selected>yes"));
    let nobody = page(&exporter, "/tasks?provider=%3Cnobody%3E");
    assert!(text(nobody.text()).ends_with(" No provider “<nobody>” is configured."));

    for (target, least) in [
        ("/", 12),
        ("/tasks", 14),
        ("/tasks?stuck=true", 9),
        ("/tasks/a/lame", 9),
        ("/tasks/a/code-1203-x", 9),
    ] {
        assert_links_resolve(&exporter, target, least);
    }
    let landing = links(page(&exporter, "/").text());
    for link in [
        "/tasks",
        "/tasks?provider=a",
        "/tasks?provider=a&state=queued",
        "/tasks?provider=b&stuck=true",
        "/tasks/a/code-1203-x",
    ] {
        assert!(landing.iter().any(|known| known == link), "{link}: {landing:?}");
    }
    assert!(!landing.contains(&"/tasks?provider=a&state=failed".to_owned()), "there is none");
}

#[test]
fn the_page_of_a_task_tells_all_that_is_known() {
    let gateway = Gateway::start();
    gateway.put(
        "lost/&amp;",
        &json!({
            "enqueued_seconds_ago": 7_200, "steps": [{ "status": "queued" }],
            "fault": { "kind": "code", "code": 7, "message": "<b>no</b>" }, "fault_every": 2,
        }),
    );
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}, {}]\ntasks:\n\
         - {{ id: 'lost/&amp;', provider: mj, labels: {{ customer: '<i>acme' }} }}\n\
         - {{ id: plain, provider: mj }}\n\
         - {{ id: done-1, provider: mj }}\n\
         - {{ id: waiting-1, provider: mj }}\n\
         - {{ id: running-1, provider: k, params: {{ kind: text2video, key: shown }} }}\n",
        gateway.provider("mj", "response: { states: { waiting: [waiting] } }"),
        gateway.provider(
            "k",
            "request: { path: '/api/mj/task/{task_id}/fetch', query: { k: '{key}{kind}' } }"
        )
    ));
    let told = eventually("a failed poll after a good one", || {
        let told = text(page(&exporter, "/tasks/mj/lost%2F%26amp%3B").text());
        (told.contains("The last poll failed: api") && told.contains("State queued"))
            .then_some(told)
    });
    for part in [
        "lost/&amp; Stuck: enqueued 2h ago; stuck_after is 10m. The last poll failed: api: code 7 ",
        " Provider mj ",
        " Status queued – the provider's word ",
        " ago) – reported by the provider ",
        " Queue age 2h ",
        " Stuck yes – enqueued 2h ago; stuck_after is 10m ",
        " Progress ",
        " Job type ",
        " Label customer <i>acme ",
        " ago) – failed ",
        " Last usable answer 2",
        " Last failure api 2",
        " ago) – code 7 ",
        " Failed polls of this task Time (UTC) Reason Code Detail 2",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let reply = page(&exporter, "/tasks/mj/lost%2F%26amp%3B");
    assert!(!reply.text().contains("<i>") && !reply.text().contains("<b>"));
    assert!(
        links(reply.text())
            .iter()
            .any(|link| { link == "/probe?provider=mj&task_id=lost%2F%26amp%3B&debug=true" })
    );
    // Only failed polls of this task are listed.
    let failed = told.split("Failed polls of this task").nth(1).unwrap();
    assert!(failed.matches(" api 7 ").count() >= 1, "{failed}");
    let quiet = text(page(&exporter, "/tasks/mj/plain").text());
    assert!(quiet.contains(" Failed polls of this task None recorded. "), "{quiet}");

    let of = |target: &str| text(page(&exporter, target).text());
    until("the end is known", || of("/tasks/mj/done-1").contains(" State succeeded – final: "));
    let done = of("/tasks/mj/done-1");
    assert!(done.contains(" Duration ") && done.contains(" End observed 2"), "{done}");
    assert!(!done.contains("Queue age") && !done.contains("Stuck"), "{done}");
    until("it waits", || {
        of("/tasks/mj/waiting-1")
            .contains(" Stuck no – the task waits for the user, not for the provider ")
    });
    let params = of("/tasks/k/running-1");
    assert!(params.contains(" Param key shown Param kind text2video "), "{params}");
}

/// None of the IDs of the test below has become part of the page.
fn assert_inert(html: &str) {
    assert_eq!(html.matches("<script").count(), 1, "{html}");
    for structure in ["<script>alert", "<img", "<q>", "<&", "\u{202e}"] {
        assert!(!html.contains(structure), "{structure}: {html}");
    }
}

#[test]
fn any_text_is_an_id_and_none_becomes_structure() {
    let ids = [
        "/..a/admin?x=1#y",
        "a%2Fb%",
        "a/.../b//c/",
        "...",
        "é 日本 🦀",
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "a+b&c=d;'e'",
        "new\nline",
        "{task_id}",
    ];
    let long = "日<&\"".repeat(600);
    let ids: Vec<&str> = ids.into_iter().chain([long.as_str()]).collect();
    let provider = "p/<q>?%2F";
    // No ID may turn the direction of writing; a label may.
    let labelled = |id: &&str| json!({ "id": id, "labels": { "turned": "\u{202e}" } });
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 300ms }}\n\
         providers: [{{ name: {0}, preset: mjdjourney, base_url: 'http://127.0.0.1:1' }}]\n\
         tasks: {1}\n",
        json!(provider),
        json!(ids.iter().map(labelled).collect::<Vec<_>>())
    ));
    until("every poll has failed once", || {
        let all = links(page(&exporter, "/").text()).into_iter();
        let tasks = all.filter(|link| link.starts_with("/tasks/"));
        tasks.collect::<BTreeSet<_>>().len() == ids.len()
    });
    assert_inert(page(&exporter, "/").text());
    let reply = page(&exporter, "/tasks");
    assert_inert(reply.text());
    let all = links(reply.text());
    let tasks: BTreeSet<_> = all.iter().filter(|link| link.starts_with("/tasks/")).collect();
    assert_eq!(tasks.len(), ids.len(), "{tasks:?}");
    assert!(reply.body.len() < 100_000, "{}", reply.body.len());
    for link in tasks {
        assert!(link.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/%-._~".contains(&byte)));
        let reply = page(&exporter, link);
        assert_eq!(reply.status, 200, "{link}");
        let html = reply.text();
        assert_inert(html);
        let id = ids
            .iter()
            .find(|id| *link == format!("/tasks/p%2F%3Cq%3E%3F%252F/{}", http::encode(id)));
        let shown = id.unwrap().replace('\n', "\\n");
        let heading = html.split("<h1>").nth(1).unwrap().split("</h1>").next().unwrap();
        assert_eq!(unescape(heading), shown);
        let json = links(html).into_iter().find(|link| link.starts_with("/api/v1/tasks?")).unwrap();
        let found = exporter.get(&json).json()["tasks"].clone();
        assert_eq!(found.as_array().unwrap().len(), 1);
        assert_eq!(found[0]["task_id"], json!(id.unwrap()));
    }
    // The path after a proxy has decoded it.
    let decoded = page(&exporter, "/tasks/p%2F%3Cq%3E%3F%252F/a/.../b//c/");
    assert_eq!(decoded.status, 200);
}

#[test]
fn what_is_not_there_or_not_understood_is_told() {
    let exporter = Exporter::start(
        "providers: [{ name: mj, preset: mjdjourney, base_url: 'http://127.0.0.1:1' }]\n",
    );
    let empty = text(page(&exporter, "/tasks").text());
    assert!(empty.ends_with(" No list names a task."), "{empty}");
    for (target, sentence, linked) in [
        (
            "/tasks/mj/%3Cx%3E",
            "<x> No list names such a task of the provider “mj”.",
            "/probe?provider=mj&task_id=%3Cx%3E&debug=true",
        ),
        ("/tasks/%3Cnobody%3E/x", "x No provider “<nobody>” is configured.", "/tasks"),
    ] {
        let reply = page(&exporter, target);
        assert_eq!(reply.status, 404, "{target}");
        assert!(text(reply.text()).contains(sentence), "{}", text(reply.text()));
        assert!(links(reply.text()).iter().any(|link| link == linked), "{target}");
    }
    for (target, sentence) in [
        (
            "/tasks?state=lost",
            "unknown state \"lost\": the states are queued, running, waiting, succeeded, failed, \
             cancelled, not_found, unknown, unpolled\n",
        ),
        (
            "/tasks?sort=enqueued",
            "unknown order \"enqueued\": sort is one of worst, provider, task_id, state, status, \
             age, progress, error, last_poll, or one of them with - in front\n",
        ),
        ("/tasks?limit=201", "limit must be a whole number from 1 to 200\n"),
        (
            "/tasks?cursor=x",
            "the cursor must be one that a page of this list gave, unchanged: leave it out to \
             start with the first page\n",
        ),
        ("/tasks?stuck=perhaps", "stuck must be true or false\n"),
        (
            "/tasks?oops=1",
            "unknown parameter \"oops\": the filters are provider, state, stuck, final, task_id, \
             search and label.NAME; order and pages are sort, limit and cursor\n",
        ),
        ("/tasks?provider=a&provider=b", "the parameter \"provider\" is given twice\n"),
        ("/tasks?provider=%FF", "the parameter \"provider\" is not UTF-8 text\n"),
        ("/tasks/mj/%FF", "the path is not UTF-8 text\n"),
        ("/tasks/mj/x?y", "this page takes no parameters; a ? in an ID is written %3F\n"),
    ] {
        let reply = exporter.get(target);
        assert_eq!((reply.status, reply.text()), (400, sentence), "{target}");
    }
    for target in ["/tasks/", "/tasks/mj", "/tasks/mj/"] {
        assert_eq!(exporter.get(target).status, 404, "{target}");
    }
    let send = |method| http::send(exporter.address, method, "/tasks", &[], "").unwrap().status;
    assert_eq!([send("HEAD"), send("POST")], [200, 405]);
}

#[test]
fn the_table_is_bounded_however_many_tasks_there_are() {
    let exporter = Exporter::start_idle(20_000, 900, &[]);
    let reply = page(&exporter, "/tasks");
    let told = text(reply.text());
    assert!(told.contains(" The 200 worst of 20,000 tasks. "), "{}", &told[..1_000]);
    assert!(told.contains("Filter by provider, state or ID"));
    assert_eq!(reply.text().matches("\n<tr><td").count(), 200);
    assert!(reply.body.len() < 500_000, "{}", reply.body.len());
    // The ID filter finds the task among them.
    let id = format!("{:0>900}", 19_999);
    assert_eq!(ids(&exporter, &format!("?task_id={id}")).len(), 1);
    assert_eq!(page(&exporter, &format!("/tasks/mj/{id}")).status, 200);
}

#[test]
fn a_configured_policy_takes_the_place_of_that_of_the_pages() {
    let dir = Dir::with("providers: []\n");
    let headers = "http_server_config: { headers: { Content-Security-Policy: sandbox } }\n";
    let flag = format!("--web.config.file={}", dir.write("web.yml", headers).display());
    let exporter = Exporter::start_in(dir, &[&flag]);
    for target in ["/", "/tasks", "/tasks/a/b"] {
        assert_eq!(exporter.get(target).header("content-security-policy"), Some("sandbox"));
    }
}
