//! The place that panels have: all columns of a table can be seen, names are whole, and words on a colour
//! can be read.

use std::collections::BTreeSet;

use serde_json::Value;

use super::board::{Dashboard, text, title};
use super::looks::{contrast, objects};

/// Pixels of Grafana's page beside the panels, between two panels, and around the content of one.
const PAGE_PADDING: f64 = 32.0;
const GAP: f64 = 8.0;
const PANEL_PADDING: f64 = 18.0;
/// The menu at the left, if it stays open.
const MENU: f64 = 300.0;

/// Minimum width that Grafana gives a column without a width of its own.
const COLUMN: f64 = 150.0;
/// Pixels of a character of the font, on average, and those beside the text of a cell and of a title.
const CHARACTER: f64 = 7.6;
const CELL_PADDING: f64 = 12.0;
const TITLE_PADDING: f64 = 83.0;

/// The colour of Grafana's words on the colour of a cell, in both themes.
const WORDS: &str = "#F7F8FA";
const MIN_CONTRAST: f64 = 4.5;

fn width_of(panel: &Value, page: f64) -> f64 {
    let columns = panel["gridPos"]["w"].as_f64().unwrap();
    let column = (page - PAGE_PADDING - 23.0 * GAP) / 24.0;
    columns.mul_add(column, (columns - 1.0) * GAP) - PANEL_PADDING
}

fn property<'p>(panel: &'p Value, column: &str, id: &str) -> Option<&'p Value> {
    let overrides = panel["fieldConfig"]["overrides"].as_array().unwrap();
    let of = overrides.iter().filter(|over| text(&over["matcher"]["options"]) == column);
    let properties = of.flat_map(|over| over["properties"].as_array().unwrap());
    properties
        .filter(|property| property["id"] == id)
        .map(|property| &property["value"])
        .next_back()
}

/// The columns of a table that can be seen, from the transformation that arranges them.
fn columns(panel: &Value) -> Vec<String> {
    let transformations = panel["transformations"].as_array().unwrap();
    let organize = transformations.iter().find(|one| one["id"] == "organize").unwrap();
    let renamed = &organize["options"]["renameByName"];
    let names = organize["options"]["indexByName"].as_object().unwrap().keys();
    let shown = names.map(|name| renamed[name].as_str().unwrap_or(name).to_owned());
    shown.filter(|name| property(panel, name, "custom.hideFrom.viz").is_none()).collect()
}

fn tables(board: &Dashboard) -> impl Iterator<Item = &Value> {
    board.panels().iter().filter(|panel| panel["type"] == "table")
}

#[test]
fn all_columns_fit_into_their_table() {
    let mut seen = BTreeSet::new();
    for board in Dashboard::all() {
        for panel in tables(&board) {
            seen.insert(title(panel).to_owned());
            let columns = columns(panel);
            let fixed = |name: &String| property(panel, name, "custom.width")?.as_f64();
            let sum: f64 = columns.iter().map(|name| fixed(name).unwrap_or(COLUMN)).sum();
            let half = panel["gridPos"]["w"].as_f64() < Some(20.0);
            // Half a page has fewer columns, and they fit with the menu open as well.
            let pages = [1440.0, 1600.0, 1920.0, if half { 1440.0 - MENU } else { 1440.0 }];
            for page in pages {
                let width = width_of(panel, page);
                assert!(sum <= width, "{} at {page}: {sum} of {width}", title(panel));
            }
            // What a column is called can be read, and so can the longest name of an alert.
            let narrow = width_of(panel, 1440.0);
            let open = columns.iter().filter(|name| fixed(name).is_none()).count();
            let each = (narrow - columns.iter().filter_map(fixed).sum::<f64>()) / open as f64;
            for name in &columns {
                let width = fixed(name).unwrap_or(each);
                let letters = if name == "Alert" { "AITaskCredentialsRejected" } else { name };
                let needed = CHARACTER * letters.chars().count() as f64;
                assert!(needed <= width, "{name} in {}: {needed} of {width}", title(panel));
            }
            for name in columns.iter().filter(|name| *name == "Provider") {
                let width = fixed(name).unwrap_or(each);
                assert!(width >= 190.0, "the provider in {}: {width}", title(panel));
            }
        }
    }
    assert!(seen.contains("Providers") && seen.len() > 5, "{seen:?}");
}

#[test]
fn providers_have_seven_columns_and_their_names_are_whole() {
    let fleet = Dashboard::all().swap_remove(0);
    let panel = tables(&fleet).find(|panel| title(panel) == "Providers").unwrap();
    let columns = columns(panel);
    assert!(columns.len() <= 7, "{columns:?}");
    let others: f64 =
        columns.iter().filter_map(|name| property(panel, name, "custom.width")?.as_f64()).sum();
    let name = "ideogram-with-a-wrong-key-of-theirs".len() as f64 * CHARACTER;
    assert!(width_of(panel, 1440.0) - others >= name + CELL_PADDING);
}

/// The titles of the numbers of the fleet, which a person looks for first, fit with the menu open.
#[test]
fn titles_of_numbers_are_whole() {
    let fleet = Dashboard::all().swap_remove(0);
    let stats: Vec<_> = fleet.panels().iter().filter(|panel| panel["type"] == "stat").collect();
    assert_eq!(title(stats[0]), "Exporters down", "first what makes the rest untrue");
    assert_eq!(title(stats[1]), "Providers down");
    for stat in stats {
        let width = width_of(stat, 1440.0 - MENU) + PANEL_PADDING - TITLE_PADDING;
        let needed = title(stat).len() as f64 * CHARACTER;
        assert!(needed <= width, "{}: {needed} of {width}", title(stat));
    }
}

/// Nothing is in the way of a graph: the legend is beside it, or one line below.
#[test]
fn graphs_have_their_place() {
    for board in Dashboard::all() {
        for panel in board.panels().iter().filter(|panel| panel["type"] == "timeseries") {
            let legend = &panel["options"]["legend"];
            let beside =
                legend["placement"] == "right" && panel["gridPos"]["w"].as_u64() >= Some(8);
            let below = legend["placement"] == "bottom" && legend["displayMode"] == "list";
            assert!(beside || below, "{} in {}: {legend}", title(panel), board.name);
            assert_eq!(panel["fieldConfig"]["defaults"]["custom"]["showPoints"], "never");
        }
        let names: Vec<_> = board.variables().iter().map(|one| text(&one["name"])).collect();
        assert!(!names.contains(&"state"), "a state narrows only some of the panels");
        assert_eq!(board.json["links"][0]["asDropdown"], true);
    }
}

/// Every number at the top of a dashboard of many links to where it is explained, on this dashboard or on
/// another.
#[test]
fn numbers_link_to_where_they_are_explained() {
    for board in Dashboard::all().iter().filter(|board| board.name != "task") {
        let ids: BTreeSet<_> =
            board.panels().iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        let stats = board.panels().iter().filter(|panel| panel["type"] == "stat");
        for stat in stats.filter(|stat| title(stat) != "Tasks not polled") {
            let url = text(&stat["fieldConfig"]["defaults"]["links"][0]["url"]);
            assert!(url.starts_with("/d/aitask-"), "{} in {}: {url}", title(stat), board.name);
            if let Some((_, id)) = url.split_once("viewPanel=panel-") {
                let id = id.parse().unwrap();
                assert!(ids.contains(&id) && id > 6, "{} in {}: {url}", title(stat), board.name);
            }
        }
    }
}

/// The colours that a cell or a stretch of a timeline can have, with words on them.
fn highlights(board: &Dashboard) -> BTreeSet<String> {
    let mut colors = BTreeSet::new();
    for panel in board.panels().iter().filter(|panel| panel["type"] != "timeseries") {
        let mut found = Vec::new();
        objects(panel, "color", &mut found);
        colors.extend(found.iter().map(|(_, color)| text(color).to_owned()));
    }
    colors.retain(|color| color.starts_with('#'));
    colors
}

#[test]
fn words_on_colours_can_be_read() {
    let mut seen = 0;
    for board in Dashboard::all() {
        for color in highlights(&board) {
            let contrast = contrast(WORDS, &color);
            assert!(contrast >= MIN_CONTRAST, "{color} in {}: {contrast:.2}", board.name);
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}

/// "–" is the one word for nothing.
#[test]
fn nothing_is_one_word() {
    for board in Dashboard::all() {
        for panel in board.panels() {
            let mut found = Vec::new();
            objects(panel, "noValue", &mut found);
            assert!(!found.is_empty(), "{}", title(panel));
            for (_, word) in found {
                assert_eq!(word, "–", "{} in {}", title(panel), board.name);
            }
        }
    }
}
