//! The banner: each condition that needs attention is on every page for people, with its reason and the
//! time since which it lasts, and goes when the condition ends.

use std::fs;

use serde_json::json;

use super::{page, text};
use crate::harness::host::Disk;
use crate::harness::{Dir, Exporter, Gateway, eventually, until};

/// The pages for people of an exporter that has the task `t` of the provider `mj`.
const TARGETS: [&str; 5] =
    ["/", "/tasks", "/tasks/mj/t", "/tasks/mj/no-such-task", "/service-discovery"];

/// Returns the texts of the conditions on a page.
fn conditions(exporter: &Exporter, target: &str) -> Vec<String> {
    let reply = page(exporter, target);
    let items = reply.text().split("<li id=\"condition-").skip(1);
    items.map(|item| text(&format!("<{}", item.split("</li>").next().unwrap()))).collect()
}

/// Waits until each page has a condition with all of these parts; returns that of the landing page.
fn await_condition(exporter: &Exporter, parts: &[&str]) -> String {
    let find = |target: &str| {
        eventually(&format!("{parts:?} on {target}"), || {
            let all = conditions(exporter, target).into_iter();
            all.into_iter().find(|condition| parts.iter().all(|part| condition.contains(part)))
        })
    };
    TARGETS.map(find).into_iter().next().unwrap()
}

fn await_green(exporter: &Exporter) {
    for target in TARGETS {
        until(target, || {
            let reply = page(exporter, target);
            !reply.text().contains("id=\"conditions\"")
                && reply.text().contains("<title>aitask") == (target == "/")
        });
    }
}

fn with_task(gateway: &Gateway, global: &str, more: &str) -> String {
    format!(
        "global: {{ poll_interval: 200ms, {global} }}\nproviders: [{}]\n\
         tasks: [{{ provider: mj, id: t }}, {{ provider: mj, id: u }}]\n",
        gateway.provider("mj", more)
    )
}

#[test]
fn a_refused_reload() {
    let gateway = Gateway::start();
    let config = with_task(&gateway, "", "");
    let exporter = Exporter::start(&config);
    await_green(&exporter);
    assert_eq!(exporter.reload(&format!("{config}oops: <b>\n")).status, 500);
    let condition =
        await_condition(&exporter, &["The configuration was not reloaded: ", ":4:1: ", "oops"]);
    for part in [
        "Since 2",
        " ago)",
        "The configuration loaded at 2",
        " is in force.",
        "AITaskConfigReloadFailed",
    ] {
        assert!(condition.contains(part), "{part}: {condition}");
    }
    let landing = page(&exporter, "/");
    assert!(landing.text().contains("<h2 id=\"reload-error\">"), "the link leads somewhere");
    assert!(page(&exporter, "/tasks").text().contains("<title>(1) Tasks"));
    assert_eq!(exporter.reload(&config).status, 200);
    await_green(&exporter);
}

#[test]
fn refused_and_missing_credentials() {
    let gateway = Gateway::start();
    for id in ["t", "u"] {
        gateway.put(id, &json!({ "fault": { "kind": "status", "status": 401 } }));
    }
    let dir = Dir::with(&with_task(&gateway, "", "authorization: { credentials_file: token }"));
    dir.write("token", "secret-value\n");
    let exporter = Exporter::start_in(dir, &[]);
    let condition = await_condition(
        &exporter,
        &["The provider “mj” is paused after HTTP 401: it refuses the credentials.", "Since 2"],
    );
    assert!(
        condition.contains("no usable answer since the start")
            && condition.contains("Runbook: AITaskCredentialsRejected")
    );
    let landing = text(page(&exporter, "/").text());
    assert!(landing.contains(" mj paused after HTTP 401 until "), "{landing}");
    assert!(landing.contains(" UTC no answer yet "), "{landing}");
    // A token that is accepted ends the pause.
    for id in ["t", "u"] {
        gateway.put(id, &json!({ "steps": [{ "status": "running" }] }));
    }
    exporter.process.dir.write("token", "another\n");
    await_green(&exporter);
    let landing = text(page(&exporter, "/").text());
    assert!(!landing.contains("paused") && !landing.contains("no answer yet"), "{landing}");

    fs::remove_file(exporter.process.dir.path("token")).unwrap();
    let parts = [
        "The provider “mj” is paused: its credentials cannot be read: ",
        "token",
        "2 open tasks are left out.",
    ];
    let condition = await_condition(&exporter, &parts);
    assert!(
        condition.contains("its last usable answer came ") && !condition.contains("secret-value"),
        "{condition}"
    );
    assert!(text(page(&exporter, "/").text()).contains("paused, no credentials, until "));
    exporter.process.dir.write("token", "again\n");
    await_green(&exporter);
}

/// The exporter looks for a missing secret also while nothing is due.
#[test]
fn missing_credentials_of_an_idle_provider() {
    let gateway = Gateway::start();
    for id in ["t", "u"] {
        gateway.put(
            id,
            &json!({ "steps": [{ "status": "running", "seconds": 1 }, { "status": "completed" }] }),
        );
    }
    let dir = Dir::with(&with_task(&gateway, "", "authorization: { credentials_file: token }"));
    dir.write("token", "x\n");
    let exporter = Exporter::start_in(dir, &[]);
    exporter.await_value("aitask_tasks", &[("state", "succeeded")], 2.0);
    await_green(&exporter);
    fs::remove_file(exporter.process.dir.path("token")).unwrap();
    // A probe wakes the worker.
    until("the probe is refused", || {
        exporter.get("/probe?provider=mj&task_id=t&debug=true").text().contains("credentials")
    });
    await_condition(&exporter, &["The provider “mj” is paused: its credentials cannot be read: "]);
    exporter.process.dir.write("token", "y\n");
    await_green(&exporter);
}

#[test]
fn a_pause_that_the_provider_asks_for() {
    let gateway = Gateway::start();
    let fault = json!({ "kind": "status", "status": 429, "headers": { "retry-after": "300" } });
    gateway.put("t", &json!({ "fault": fault }));
    let exporter = Exporter::start(&with_task(&gateway, "", "max_in_flight: 1"));
    let sentence = "The provider “mj” is paused after HTTP 429, as it asked for with Retry-After.";
    let condition = await_condition(&exporter, &[sentence, "Polls continue at ", "(in 4m"]);
    assert!(condition.contains("Runbook: AITaskRateLimited"), "{condition}");
    let landing = text(page(&exporter, "/").text());
    assert!(landing.contains(" mj paused after HTTP 429 until "), "{landing}");
    assert!(landing.contains(" UTC (Retry-After) "), "{landing}");
    // By how much its polls are late belongs to the pause.
    await_condition(&exporter, &[sentence, "Polls have been due for "]);
    assert_eq!(conditions(&exporter, "/").len(), 1);
}

#[test]
fn polls_without_a_usable_answer() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&with_task(&gateway, "", ""));
    await_green(&exporter);
    // One task that fails is no condition of the provider.
    gateway.put("u", &json!({ "fault": { "kind": "status", "status": 502 } }));
    exporter.await_value("aitask_up", &[("task_id", "u")], 0.0);
    await_green(&exporter);
    gateway.put("t", &json!({ "fault": { "kind": "status", "status": 502 } }));
    let condition = await_condition(
        &exporter,
        &["No poll of the provider “mj” gets a usable answer: HTTP status 502 (http). Since 2"],
    );
    assert!(condition.contains("its last usable answer came "), "{condition}");
    assert!(text(page(&exporter, "/").text()).contains(" mj no usable answer since "));
    gateway.put("t", &json!({ "steps": [{ "status": "running" }] }));
    await_green(&exporter);
}

#[test]
fn late_polls_and_tasks_that_are_left_out() {
    let gateway = Gateway::start();
    let config =
        with_task(&gateway, "max_tasks: 3", "rate_limit: { requests: 1, per: 1h, burst: 2 }");
    let exporter = Exporter::start(
        &format!("{config}- {{ provider: mj, id: v }}\n- {{ provider: mj, id: w }}\n")
            .replace("tasks: [", "tasks:\n- ")
            .replace("}, {", "}\n- {")
            .replace("}]\n-", "}\n-"),
    );
    await_condition(
        &exporter,
        &[
            "1 task is left out: there are more than max_tasks. Since 2",
            "The limit keeps no other task from being polled.",
        ],
    );
    let condition = await_condition(
        &exporter,
        &["Polls of the provider “mj” are late, the first by ", "Since 2"],
    );
    assert!(condition.contains("Runbook: AITaskPollsLate"), "{condition}");
    assert!(text(page(&exporter, "/").text()).contains(" mj late by "));
}

#[test]
fn a_source_that_fails_or_has_unusable_elements() {
    let gateway = Gateway::start();
    let config = with_task(&gateway, "", "");
    let dir = Dir::with(&format!(
        "{config}file_sd_configs: [{{ name: cron, provider: mj, files: [list.json] }}]\n"
    ));
    dir.write("list.json", "[\"listed\", 7, {}]");
    let exporter = Exporter::start_in(dir, &[]);
    let rejected = await_condition(
        &exporter,
        &["left out of the list of “cron” (file): ", "The others count: "],
    );
    assert!(rejected.contains("Since 2") && rejected.contains("AITaskTasksRejected"), "{rejected}");
    exporter.process.dir.write("list.json", "[\"listed\"]");
    await_green(&exporter);
    exporter.process.dir.write("list.json", "oops");
    let condition = await_condition(
        &exporter,
        &["The source “cron” (file) of tasks fails: ", "(decode)", "Since 2"],
    );
    assert!(
        condition.contains("Its last good list, of 2")
            && condition.contains(" is in force: 1 task."),
        "{condition}"
    );
    let reply = page(&exporter, "/tasks");
    assert!(reply.text().contains("href=\"/service-discovery#source-1\""));
    assert!(page(&exporter, "/service-discovery").text().contains("id=\"source-1\""));
    exporter.process.dir.write("list.json", "[]");
    await_green(&exporter);
}

#[test]
fn a_storage_path_that_refuses_writes() {
    let (gateway, storage, disk) = (Gateway::start(), Dir::new(), Disk::that("works"));
    let dir = Dir::with(&with_task(&gateway, "", ""));
    let path = storage.path("state");
    let flags = ["--storage.path", path.to_str().unwrap()];
    let exporter = Exporter::start_with_disk(&disk, dir, &flags);
    await_green(&exporter);
    disk.now("fails");
    gateway.put("t", &json!({ "steps": [{ "status": "queued" }] }));
    let condition =
        await_condition(&exporter, &["The storage path cannot be written: ", "Since 2"]);
    assert!(condition.contains("(os error 5)"), "{condition}");
    assert!(
        condition.contains("polls on") && condition.contains("AITaskExporterStorageDown"),
        "{condition}"
    );
    disk.now("works");
    await_green(&exporter);
}

#[test]
fn a_hundred_conditions_leave_room_for_the_page() {
    let provider =
        |n| format!("{{ name: p{n}, preset: mjdjourney, base_url: 'http://127.0.0.1:1' }}");
    let providers: Vec<_> = (0..60).map(provider).collect();
    let tasks: Vec<_> = (0..60).map(|n| format!("{{ provider: p{n}, id: t }}")).collect();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks: [{}]\n",
        providers.join(", "),
        tasks.join(", ")
    ));
    until("no provider answers", || {
        text(page(&exporter, "/tasks").text()).contains(" 60 conditions need attention ")
    });
    assert_eq!(conditions(&exporter, "/tasks").len(), 20);
    assert!(text(page(&exporter, "/tasks").text()).contains(" And 40 more. "));
}

/// Failed polls are grouped, so that one task does not hide the others.
#[test]
fn failed_polls_are_grouped_by_task() {
    let gateway = Gateway::start();
    gateway
        .put("often", &json!({ "fault": { "kind": "status", "status": 502 }, "fault_every": 2 }));
    gateway.put(
        "once",
        &json!({ "fault": { "kind": "status", "status": 500 }, "fault_every": 1_000_000 }),
    );
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 100ms }}\nproviders: [{}]\ntasks: [often, code-1203-x]\n",
        gateway.provider("mj", "")
    ));
    let row = eventually("several failed polls of a task", || {
        let reply = page(&exporter, "/");
        let table = reply.text().split("Recent failed polls by task").nth(1)?;
        let row = table.split("<tr>").find(|row| row.contains("/tasks/mj/often"))?;
        let condition = text(&format!("<p>{row}"));
        let count: u32 = condition.split(' ').nth(2)?.parse().ok()?;
        (count > 2 && table.contains("/tasks/mj/code-1203-x")).then(|| {
            assert_eq!(table.matches("<td class=\"id\"><a ").count(), 2, "{table}");
            condition
        })
    });
    assert!(row.contains(" ago HTTP status 502 (http)"), "{row}");
}
