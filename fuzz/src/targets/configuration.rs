//! The bytes are a configuration: it is valid, or every error names a position in it.

use std::collections::HashSet;

use aitask_exporter::config::{self, Loaded, preset};
use aitask_exporter::printable::is_printable;
use aitask_exporter::task::check_id;
use aitask_exporter::yaml::diagnostic::{Diagnostics, RenderedDiagnostic};

use crate::harness::root;

const NAME: &str = "fuzz.yml";

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // A glob could walk through every directory of the machine.
    if text.contains("**") {
        return;
    }
    match config::load_text(NAME, &text, &root("tests/data/config/good")) {
        Ok(loaded) => valid(&loaded, &text),
        Err(diagnostics) => told(&diagnostics, &text),
    }
}

fn valid(Loaded { config, tasks }: &Loaded, text: &str) {
    let names: HashSet<_> = config.providers.iter().map(|provider| &*provider.name).collect();
    assert_eq!(names.len(), config.providers.len());
    assert!(names.iter().all(|name| (1..=1_024).contains(&name.len())));
    let mut known = HashSet::new();
    for task in tasks {
        assert_eq!(check_id(&task.id), Ok(()));
        assert!(names.contains(&*task.common.provider));
        assert!(known.insert((&*task.common.provider, &*task.id)), "{task:?} is there twice");
        for (name, value) in task.common.labels.iter() {
            assert!(!name.is_empty() && !value.contains('\0'), "{name}={value:?}");
        }
    }
    // The nodes that presets and aliases add are bounded.
    let most = 1_000 * text.len() + (1 << 16);
    assert!(config.shown.len() <= most, "{} bytes of {}", config.shown.len(), text.len());
}

fn told(diagnostics: &Diagnostics, text: &str) {
    assert!(!diagnostics.shown().is_empty());
    for diagnostic in diagnostics.shown() {
        let source = match diagnostic.file.strip_prefix("preset ") {
            _ if diagnostic.file == NAME => Some(text),
            Some(name) => preset::get(name),
            // The error is in a task file.
            None => None,
        };
        if let Some(source) = source {
            assert!(in_place(diagnostic, source), "{diagnostic:?} is not in {source:?}");
        }
        assert!(diagnostic.message.chars().all(is_printable), "{diagnostic:?}");
        if let Some((line, column)) = &diagnostic.excerpt {
            // White space at the end of a line is not shown.
            assert!(*column <= 120 && line.chars().count() <= 120, "{diagnostic:?}");
            assert!(line.chars().all(is_printable), "{diagnostic:?}");
        }
    }
    let said = diagnostics.to_string();
    assert!(said.len() <= 50 * 4_096, "{} bytes are told", said.len());
}

/// Reports whether the position is within the text, ends of lines included.
fn in_place(diagnostic: &RenderedDiagnostic, text: &str) -> bool {
    let Some((line, column)) = diagnostic.position else { return true };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut lines = text.split(['\n', '\r']);
    let found = lines.nth(usize::try_from(line).unwrap() - 1);
    found.is_some_and(|found| {
        (1..=found.chars().count() + 1).contains(&usize::try_from(column).unwrap())
    })
}
