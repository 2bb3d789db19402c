//! The appearance of the panels: the same limit as in the alert, the same colour for the same
//! state, and colours that everybody can distinguish.

use std::collections::{BTreeMap, BTreeSet};

use aitask_exporter::observation::State;
use serde_json::Value;

use super::board::{Dashboard, text, title};
use super::rules;

/// Backgrounds of a panel in the dark and in the light theme of Grafana.
const BACKGROUNDS: [&str; 2] = ["#181B1F", "#FFFFFF"];

/// Minimum contrast of an area or a word with the background. WCAG requires 3 for areas without a
/// label; each of ours has one.
const MIN_CONTRAST: f64 = 2.2;

/// Minimum distance of two colours in CIE Lab at which they are easily distinguished side by side.
const MIN_DISTANCE: f64 = 15.0;

type Matrix = [[f64; 3]; 3];

/// Linear RGB as the two common kinds of colour blindness see it. Machado, Oliveira and Fernandes,
/// "A Physiologically-based Model for Simulation of Color Vision Deficiency", 2009, severity 1.
const EYES: [(&str, Matrix); 3] = [
    ("all cones", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    (
        "protanopia",
        [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ],
    ),
    (
        "deuteranopia",
        [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ],
    ),
];

/// sRGB to XYZ, at the white of daylight.
const XYZ: Matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]];
const WHITE: [f64; 3] = [0.95047, 1.0, 1.08883];

fn times(matrix: Matrix, vector: [f64; 3]) -> [f64; 3] {
    matrix.map(|row| row.iter().zip(vector).map(|(a, b)| a * b).sum())
}

fn linear(color: &str) -> [f64; 3] {
    [1, 3, 5].map(|at| {
        let value = f64::from(u8::from_str_radix(&color[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    })
}

pub fn contrast(a: &str, b: &str) -> f64 {
    let light = |color| times(XYZ, linear(color))[1] + 0.05;
    let ratio = light(a) / light(b);
    ratio.max(1.0 / ratio)
}

fn lab(color: &str, eye: Matrix) -> [f64; 3] {
    let seen = times(eye, linear(color)).map(|value| value.clamp(0.0, 1.0));
    let [x, y, z] = [0, 1, 2].map(|axis| {
        let value = times(XYZ, seen)[axis] / WHITE[axis];
        if value > 0.008_856 { value.cbrt() } else { 7.787 * value + 16.0 / 116.0 }
    });
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// Every object below `value`, with what is at `key` in it.
pub fn objects<'v>(value: &'v Value, key: &str, found: &mut Vec<(&'v Value, &'v Value)>) {
    if let Some(inner) = value.get(key) {
        found.push((value, inner));
    }
    match value {
        Value::Object(map) => map.values().for_each(|value| objects(value, key, found)),
        Value::Array(list) => list.iter().for_each(|value| objects(value, key, found)),
        _ => {}
    }
}

/// The colours by state, wherever a state has one: in a mapping of words, or for a series.
pub fn colors(board: &Dashboard) -> BTreeMap<String, BTreeSet<String>> {
    let mut colors: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut add = |state: &str, color: &Value| {
        colors.entry(state.to_owned()).or_default().insert(text(color).to_owned());
    };
    let mut mappings = Vec::new();
    objects(&board.json, "mappings", &mut mappings);
    objects(&board.json, "value", &mut mappings);
    for state in State::ALL.map(State::as_str) {
        for (_, mapping) in &mappings {
            for mapping in mapping.as_array().into_iter().flatten() {
                if let Some(word) = mapping["options"].get(state) {
                    add(state, &word["color"]);
                }
            }
        }
        let mut overrides = Vec::new();
        objects(&board.json, "matcher", &mut overrides);
        for (over, matcher) in overrides {
            if text(&matcher["options"]) == format!("/(^| ){state}$/") {
                add(state, &over["properties"][0]["value"]["fixedColor"]);
            }
        }
    }
    colors
}

#[test]
fn a_state_has_one_colour_everywhere() {
    let boards = Dashboard::all();
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for board in &boards[..2] {
        let colors = colors(board);
        assert_eq!(colors.len(), State::ALL.len(), "{}: {colors:?}", board.name);
        for (state, colors) in colors {
            all.entry(state).or_default().extend(colors);
        }
    }
    let mut seen = BTreeSet::new();
    for (state, colors) in &all {
        assert_eq!(colors.len(), 1, "{state}: {colors:?}");
        assert!(seen.insert(colors), "{state} shares its colour");
    }
}

#[test]
fn everybody_can_tell_the_colours_apart_in_both_themes() {
    let all = colors(&Dashboard::all()[0]);
    let states: Vec<_> = all.iter().map(|(state, of)| (state, of.first().unwrap())).collect();
    for (index, (state, color)) in states.iter().enumerate() {
        for background in BACKGROUNDS {
            let contrast = contrast(color, background);
            assert!(contrast >= MIN_CONTRAST, "{state} on {background}: {contrast:.2}");
        }
        for (other, other_color) in &states[..index] {
            for (name, eye) in EYES {
                let [a, b] = [color, other_color].map(|color| lab(color, eye));
                let distance = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
                assert!(distance >= MIN_DISTANCE, "{state}, {other}, {name}: {distance:.1}");
            }
        }
    }
    // The test itself: red and green that a colour-blind person takes for one another.
    let [a, b] = ["#A04000", "#606000"].map(|color| lab(color, EYES[2].1));
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < MIN_DISTANCE));
}

/// A panel that names the limit of an alert turns red at exactly that limit.
#[test]
fn limits_of_panels_are_those_of_the_alerts() {
    let rules = rules::all();
    let mut named = BTreeSet::new();
    for board in Dashboard::all() {
        for panel in board.panels() {
            let description = text(&panel["description"]);
            let defaults = &panel["fieldConfig"]["defaults"];
            let steps = defaults["thresholds"]["steps"].as_array().map_or(&[][..], Vec::as_slice);
            let steps = steps.iter().filter_map(|step| step["value"].as_f64());
            // From 0 on there is a value, and all is well.
            let steps: Vec<_> = steps.filter(|value| *value != 0.0).collect();
            for rule in
                rules.iter().filter(|rule| description.contains(&format!("{} fires", rule.name)))
            {
                named.insert(&rule.name);
                let limit = match (text(&defaults["unit"]), rule.limit()) {
                    // Something is wrong, in one of them at least.
                    (_, 0.0) if panel["type"] == "stat" => 1.0,
                    ("percent", limit) => 100.0 * limit,
                    ("h", limit) => limit / 3_600.0,
                    (_, limit) => limit,
                };
                let says_when =
                    ["above", "turns red"].iter().any(|word| description.contains(word));
                assert!(
                    !says_when || limit == 0.0 || steps == [limit],
                    "{} in {}: {steps:?}, not {limit}",
                    title(panel),
                    board.name
                );
            }
        }
    }
    assert!(named.len() > 8, "{named:?}");
}
