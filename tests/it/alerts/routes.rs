//! The configuration of the Alertmanager that we ship, in a real Alertmanager: what is one
//! notification, what waits for what, and what is held back.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use crate::dashboards::rules;
use crate::harness::tools::{Alertmanager, Webhook, said};
use crate::harness::{read_yaml, root, strings, until};

const FILE: &str = "config/alertmanager.yml";

/// Name, instance and provider of an alert; empty if it has none.
type Alert<'a> = (&'a str, &'a str, &'a str);

fn alert(job: &str, (name, instance, provider): Alert<'_>) -> Value {
    let alerts = rules::all();
    let rule = alerts.iter().find(|rule| rule.name == name).unwrap_or_else(|| panic!("{name}"));
    let labels = [
        ("alertname", name),
        ("severity", rule.json["labels"]["severity"].as_str().unwrap()),
        ("job", job),
        ("instance", instance),
        ("provider", provider),
    ];
    let labels: serde_json::Map<_, _> = labels
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({ "labels": labels, "annotations": { "description": format!("About {name} <!channel>.") } })
}

/// Our configuration, with webhooks in the place of its receivers, in their order.
fn with_webhooks(webhooks: &[Webhook; 3]) -> Value {
    let mut config = read_yaml(FILE);
    // Nothing is notified twice, so that what arrives has not waited for anything.
    config["route"]["group_wait"] = "0s".into();
    config["route"]["group_interval"] = "1h".into();
    let receivers = config["receivers"].as_array_mut().unwrap();
    assert_eq!(receivers.len(), webhooks.len());
    for (receiver, webhook) in receivers.iter_mut().zip(webhooks) {
        let url = format!("http://{}/", webhook.address);
        match receiver.get_mut("slack_configs") {
            Some(slack) => slack[0]["api_url"] = url.into(),
            None => {
                *receiver =
                    json!({ "name": receiver["name"], "webhook_configs": [{ "url": url }] });
            }
        }
    }
    config
}

#[test]
fn an_alert_does_not_wait_behind_that_of_another_exporter() {
    let webhooks = [Webhook::start(), Webhook::start(), Webhook::start()];
    let alertmanager = Alertmanager::start(&with_webhooks(&webhooks).to_string());
    let [on_call, low_priority, video] = webhooks;
    // One after the other: each when the one before has been notified.
    for (name, instance, provider) in [
        ("AITaskExporterStorageDown", "a", ""),
        ("AITaskExporterStorageDown", "b", ""),
        ("AITaskConfigReloadFailed", "c", ""),
        ("AITaskExporterDown", "a", ""),
        ("AITaskStuck", "", "kling"),
        ("AITaskManyStuck", "", "kling"),
        ("AITaskStuck", "", "suno"),
        ("AITaskPollsStopped", "a", "kling"),
        ("AITaskPollsStopped", "b", "kling"),
    ] {
        alertmanager.raise(&json!([alert("ai", (name, instance, provider))]));
        on_call.await_alert_that(&format!("{name} {instance} {provider}"), |alert| {
            let labels = &alert["labels"];
            labels["alertname"] == name
                && labels["instance"].as_str().unwrap_or_default() == instance
                && labels["provider"].as_str().unwrap_or_default() == provider
        });
    }

    alertmanager.raise(&json!([alert("ai", ("AITaskUnknownStatus", "", "kling"))]));
    low_priority.await_alert("AITaskUnknownStatus", "firing");
    // These have a route of their own, on which the second is critical.
    for (name, severity) in [("AITaskStuck", "warning"), ("AITaskManyStuck", "critical")] {
        alertmanager.raise(&json!([alert("ai", (name, "", "video-1"))]));
        let start = format!("*{name}* About {name}  !channel .\n");
        let message = video.await_message(name, |message| {
            message["attachments"][0]["text"].as_str().unwrap().starts_with(&start)
        });
        let title = format!("FIRING: video-1 ({severity})");
        assert_eq!(message["attachments"][0]["title"], title);
    }
    on_call.await_alert_that("on-call is notified too", |alert| {
        alert["labels"]["provider"] == "video-1"
    });
}

#[test]
fn chosen_providers_have_a_receiver_of_their_own() {
    for (labels, receivers) in [
        (&["severity=info", "provider=video-1"][..], "low-priority"),
        (&["severity=warning", "provider=video-1"], "video-team"),
        (&["severity=critical", "provider=video-1"], "video-team,on-call"),
        (&["severity=warning", "provider=kling"], "on-call"),
        (&["severity=critical", "instance=a"], "on-call"),
    ] {
        let mut test = Command::new("amtool");
        test.args(["config", "routes", "test", "--config.file"]).arg(root(FILE)).args(labels);
        assert_eq!(said(&mut test).trim(), receivers, "{labels:?}");
    }
}

/// Alerts that fire together, and those of them that are held back.
const TOGETHER: &[(&[Alert<'_>], &[Alert<'_>])] = &[
    // One lost task that stays listed silences nothing.
    (&[("AITaskQueueAgeHigh", "", "p"), ("AITaskStuck", "", "p")], &[]),
    (
        &[("AITaskManyStuck", "", "p"), ("AITaskQueueAgeHigh", "", "p"), ("AITaskStuck", "", "q")],
        &[("AITaskStuck", "", "p")],
    ),
    // An outage, which all exporters see.
    (
        &[
            ("AITaskProviderDown", "", "p"),
            ("AITaskRateLimited", "", "p"),
            ("AITaskNotFound", "", "p"),
            ("AITaskFailureRatioHigh", "", "p"),
            ("AITaskTasksLost", "", "p"),
            ("AITaskUnknownStatus", "", "p"),
            ("AITaskCredentialsRejected", "a", "p"),
            ("AITaskStuck", "", "q"),
            ("AITaskProviderDown", "a", "q"),
        ],
        &[
            ("AITaskProviderDown", "a", "p"),
            ("AITaskPollsFailing", "", "p"),
            ("AITaskPollsFailing", "a", "p"),
            ("AITaskPollsStopped", "", "p"),
            ("AITaskPollsLate", "b", "p"),
            ("AITaskStuck", "", "p"),
            ("AITaskManyStuck", "", "p"),
            ("AITaskQueueAgeHigh", "", "p"),
        ],
    ),
    // One exporter does not reach the provider: the tasks of the others may be stuck.
    (
        &[
            ("AITaskProviderDown", "a", "p"),
            ("AITaskProviderDown", "b", "p"),
            ("AITaskPollsFailing", "c", "p"),
            ("AITaskPollsFailing", "", "p"),
            ("AITaskStuck", "", "p"),
            ("AITaskQueueAgeHigh", "", "p"),
        ],
        &[
            ("AITaskPollsFailing", "a", "p"),
            ("AITaskPollsStopped", "a", "p"),
            ("AITaskPollsLate", "a", "p"),
        ],
    ),
    (
        &[("AITaskCredentialsRejected", "", "p"), ("AITaskTasksDropped", "a", "")],
        &[
            ("AITaskCredentialsRejected", "a", "p"),
            ("AITaskProviderDown", "", "p"),
            ("AITaskProviderDown", "b", "p"),
            ("AITaskPollsFailing", "", "p"),
            ("AITaskPollsStopped", "a", "p"),
            ("AITaskPollsLate", "", "p"),
            ("AITaskManyStuck", "", "p"),
        ],
    ),
    // The credentials of one exporter, and an outage for another one.
    (
        &[
            ("AITaskCredentialsRejected", "a", "p"),
            ("AITaskProviderDown", "b", "p"),
            ("AITaskStuck", "", "p"),
        ],
        &[("AITaskProviderDown", "a", "p"), ("AITaskPollsFailing", "a", "p")],
    ),
    (
        &[("AITaskPollsStopped", "", "p"), ("AITaskRateLimited", "", "p")],
        &[
            ("AITaskPollsStopped", "a", "p"),
            ("AITaskPollsLate", "a", "p"),
            ("AITaskStuck", "", "p"),
            ("AITaskManyStuck", "", "p"),
            ("AITaskQueueAgeHigh", "", "p"),
        ],
    ),
    (
        &[
            ("AITaskPollsStopped", "a", "p"),
            ("AITaskRateLimited", "b", "p"),
            ("AITaskPollsLate", "c", "p"),
            ("AITaskPollsLate", "", "p"),
            ("AITaskStuck", "", "p"),
        ],
        &[("AITaskPollsLate", "a", "p"), ("AITaskPollsLate", "b", "p")],
    ),
    (
        &[("AITaskRateLimited", "", "p")],
        &[("AITaskPollsLate", "a", "p"), ("AITaskPollsLate", "", "p")],
    ),
    // Problems of one exporter say nothing about one another.
    (
        &[
            ("AITaskExporterDown", "a", ""),
            ("AITaskConfigReloadFailed", "a", ""),
            ("AITaskExporterStorageDown", "a", ""),
            ("AITaskExporterStorageDown", "b", ""),
            ("AITaskTasksDropped", "a", ""),
            ("AITaskDiscoveryFailing", "a", ""),
            ("AITaskTasksRejected", "a", ""),
            ("AITaskProviderDown", "a", "p"),
            ("AITaskStuck", "", "p"),
        ],
        &[],
    ),
];

#[test]
fn only_what_follows_from_another_alert_is_held_back() {
    let webhooks = [Webhook::start(), Webhook::start(), Webhook::start()];
    let alertmanager = Alertmanager::start(&with_webhooks(&webhooks).to_string());
    // Each case is a job of its own, whose alerts have nothing to do with those of the others.
    let mut alerts = Vec::new();
    for (case, (sent, held)) in TOGETHER.iter().enumerate() {
        alerts.extend(sent.iter().chain(*held).map(|one| alert(&format!("case {case}"), *one)));
    }
    // The Alertmanager looks at alerts in their order: those of the last case are the last.
    let last = [("AITaskManyStuck", "", "p"), ("AITaskStuck", "", "p")];
    alerts.extend(last.map(|one| alert("last", one)));
    alertmanager.raise(&alerts.into());
    let is_held = |alert: &Value| !strings(&alert["status"]["inhibitedBy"]).is_empty();
    until("the last alert is held back", || {
        alertmanager.alerts().iter().any(|alert| alert["labels"]["job"] == "last" && is_held(alert))
    });
    let found = alertmanager.alerts();
    for (case, (sent, held)) in TOGETHER.iter().enumerate() {
        for one in sent.iter().chain(*held) {
            let labels = &alert(&format!("case {case}"), *one)["labels"];
            let found = found.iter().find(|alert| alert["labels"] == *labels).unwrap();
            assert_eq!(is_held(found), held.contains(one), "case {case}: {found}");
        }
    }
}

/// A message is held back only for the sake of an alert that there is, of the same provider at least.
#[test]
fn every_alert_that_inhibits_or_is_inhibited_exists() {
    let names: BTreeSet<_> = rules::all().into_iter().map(|rule| rule.name).collect();
    let config = read_yaml(FILE);
    let mut pairs = BTreeSet::new();
    for rule in config["inhibit_rules"].as_array().unwrap() {
        let equal = strings(&rule["equal"]);
        assert!(["job", "provider"].iter().all(|label| equal.contains(label)), "{rule}");
        let [sources, targets] = ["source_matchers", "target_matchers"].map(|matchers| {
            let matchers = strings(&rule[matchers]);
            let name = matchers.iter().find(|matcher| matcher.starts_with("alertname")).unwrap();
            name.split('"').nth(1).unwrap().split('|').map(str::to_owned).collect::<Vec<_>>()
        });
        for name in sources.iter().chain(&targets) {
            assert!(names.contains(name), "{name}");
        }
        let pair = |source: &String| {
            targets.iter().map(|target| (source.clone(), target.clone())).collect::<Vec<_>>()
        };
        pairs.extend(sources.iter().flat_map(pair));
    }
    // Every pair is in a case above.
    let shown = |source: &str, target: &str| {
        let has = |alerts: &[Alert<'_>], name| alerts.iter().any(|alert| alert.0 == name);
        TOGETHER.iter().any(|(sent, held)| has(sent, source) && has(held, target))
    };
    for (source, target) in pairs {
        assert!(shown(&source, &target), "{source} inhibits {target}");
    }
}
