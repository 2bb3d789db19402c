//! The dashboard to which an alert links shows what the alert is about.

use crate::dashboards::board::{ANY, Dashboard, Query, fill, text};
use crate::dashboards::promql::{self, Named, Selector};
use crate::dashboards::rules::{self, Rule};

/// Returns what an alert reads, with the selectors of recorded series in the place of their names.
fn reads(alert: &Rule, rules: &[Rule]) -> Vec<Selector> {
    let mut selectors = Vec::new();
    for selector in promql::parse(&alert.expr).unwrap().selectors {
        match rules.iter().find(|rule| rule.is_record && rule.name == selector.metric) {
            None => selectors.push(selector),
            Some(record) => {
                let mut recorded = promql::parse(&record.expr).unwrap().selectors.remove(0);
                recorded.matchers.extend(selector.matchers);
                selectors.push(recorded);
            }
        }
    }
    selectors
}

/// Reports whether a query shows what the selector of an alert selects: it reads the same metric, and
/// either the same part of it, or it has the label apart.
fn shows(query: &Query<'_>, named: &Named, wanted: &Selector) -> bool {
    let legend = text(&query.target["legendFormat"]);
    named.selectors.iter().filter(|selector| selector.metric == wanted.metric).any(|selector| {
        wanted.matchers.iter().all(|matcher| {
            let (label, operator, value) = matcher;
            // The variable of the dashboard selects the job.
            operator != "="
                || label == "job"
                || selector.matchers.contains(matcher)
                || selector.matchers.iter().any(|(of, with, values)| {
                    of == label && with == "=~" && values.split('|').any(|one| one == value)
                })
                || legend.contains(&format!("{{{{{label}}}}}"))
        })
    })
}

/// The first comparison of an alert, and, if it is of a share, the whole of it.
fn shown_by(alert: &Rule, board: &Dashboard, rules: &[Rule]) -> bool {
    let reads = reads(alert, rules);
    let wanted = if alert.expr.contains("\n  / ") { &reads[..2] } else { &reads[..1] };
    board.targets().iter().any(|query| {
        let named = promql::parse(&fill(query.expr, &ANY)).unwrap();
        wanted.iter().all(|selector| shows(query, &named, selector))
    })
}

#[test]
fn every_alert_links_to_a_dashboard_that_shows_it() {
    let rules = rules::all();
    let boards = Dashboard::all();
    let mut elsewhere = 0;
    for alert in rules.iter().filter(|rule| !rule.is_record) {
        let url = text(&alert.json["annotations"]["dashboard_url"]);
        let uid = url.strip_prefix("/d/").unwrap().split('?').next().unwrap();
        let linked = boards.iter().find(|board| board.json["uid"] == uid).unwrap();
        assert!(shown_by(alert, linked, &rules), "{} is not on {}", alert.name, linked.name);
        let others = boards.iter().filter(|board| board.name != linked.name);
        elsewhere += others.filter(|board| shown_by(alert, board, &rules)).count();
    }
    // The test itself: most alerts are shown by one dashboard only.
    assert!(elsewhere < rules.len(), "{elsewhere}");
    let of = |name: &str| rules.iter().find(|rule| rule.name == name).unwrap();
    for name in ["AITaskRateLimited", "AITaskUnknownStatus"] {
        assert!(!shown_by(of(name), &boards[1], &rules), "{name} is on the dashboard of one task");
    }
}
