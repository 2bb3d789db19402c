//! The shape of the code: which module may know which, and what stays free of the outside.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::root;

/// Data in, data out: none of these may look at a clock, a file or a socket.
const PURE: [&str; 5] = ["mapping", "request", "schedule", "record", "exposition/text"];

/// Imports that pure modules must not have.
const OUTSIDE: [&str; 8] = [
    "std::net",
    "std::fs",
    "std::env",
    "tokio::net",
    "tokio::spawn",
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
];

const MAX_LINES: usize = 450;

struct Source {
    /// Below `src`, without the ending: `config/load`.
    path: String,
    text: String,
}

impl Source {
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap()
    }

    /// The text without unit tests, which may use anything.
    fn code(&self) -> &str {
        let tests = self.path == "tests" || self.path.ends_with("/tests");
        let end = if tests { 0 } else { self.text.find("#[cfg(test)]\n").unwrap_or(usize::MAX) };
        self.text.get(..end).unwrap_or(&self.text)
    }

    /// The modules of ours that it names.
    fn imports(&self) -> Vec<&str> {
        let mut imports = Vec::new();
        for (at, _) in self.code().match_indices("crate::") {
            let rest = &self.code()[at + "crate::".len()..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap();
            assert!(end > 0, "{}: write `use crate::name` once for each module", self.path);
            imports.push(&rest[..end]);
        }
        imports
    }
}

pub fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let folder = root("src");
    let mut found = Vec::new();
    files(&folder, &mut found);
    assert!(found.len() > 50);
    let source = |path: PathBuf| Source {
        text: fs::read_to_string(&path).unwrap(),
        path: path.with_extension("").strip_prefix(&folder).unwrap().to_str().unwrap().to_owned(),
    };
    found.into_iter().map(source).collect()
}

/// The modules in the order of `lib.rs`.
fn ranks(lib: &str) -> Vec<&str> {
    let modules = lib.lines().filter_map(|line| line.strip_suffix(';')?.split_once("mod "));
    modules.map(|(_, module)| module).collect()
}

/// Returns the imports that violate the order.
fn violations(sources: &[Source], ranks: &[&str]) -> Vec<String> {
    let rank = |module: &str| {
        let found = ranks.iter().position(|known| *known == module);
        found.unwrap_or_else(|| panic!("`{module}` is not in lib.rs"))
    };
    let inner = sources.iter().filter(|source| !matches!(source.module(), "lib" | "main"));
    let all = inner.flat_map(|source| source.imports().into_iter().map(move |to| (source, to)));
    let wrong = all.filter(|(source, to)| rank(to) > rank(source.module()));
    wrong.map(|(source, to)| format!("{} uses {to}", source.path)).collect()
}

#[test]
fn imports_point_to_earlier_modules() {
    let sources = sources();
    let lib = fs::read_to_string(root("src/lib.rs")).unwrap();
    let ranks = ranks(&lib);
    assert!(ranks.len() > 15);
    assert_eq!(violations(&sources, &ranks), [""; 0]);
    // The test itself: an import in a signature, against the order, is found.
    let text = "use crate::clock;\nfn f(_: crate::web::Web) {}\n".to_owned();
    let wrong = Source { path: "record".to_owned(), text };
    assert_eq!(violations(&[wrong], &ranks), ["record uses web"]);
}

#[test]
fn the_map_shows_the_modules_in_their_order() {
    let map = fs::read_to_string(root("ARCHITECTURE.md")).unwrap();
    let map = map.split("## The map").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = map.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let lib = fs::read_to_string(root("src/lib.rs")).unwrap();
    assert_eq!(rows.collect::<Vec<_>>(), ranks(&lib));
}

/// The compiler holds that it uses nothing of the exporter, as long as no crate is named.
#[test]
fn the_simulator_knows_nothing_of_the_exporter() {
    let manifest = fs::read_to_string(root("simulator/Cargo.toml")).unwrap();
    assert!(!manifest.contains("path =") && !manifest.contains("aitask-exporter"), "{manifest}");
}

#[test]
fn pure_modules_stay_pure() {
    let sources = sources();
    for module in PURE {
        let within = |source: &&Source| {
            source.path == module || source.path.starts_with(&format!("{module}/"))
        };
        let mut files = sources.iter().filter(within).peekable();
        assert!(files.peek().is_some(), "no module {module}");
        for source in files {
            for outside in OUTSIDE {
                assert!(!source.code().contains(outside), "{} uses {outside}", source.path);
            }
        }
    }
}

#[test]
fn files_fit_the_head() {
    let mut found = Vec::new();
    files(&root("src"), &mut found);
    files(&root("simulator/src"), &mut found);
    files(&root("tests/it"), &mut found);
    files(&root("fuzz/src"), &mut found);
    for path in found {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{}: {lines} lines", path.display());
        assert_ne!(path.file_name().unwrap(), "mod.rs");
        let word = ["un", "safe "].concat();
        assert!(!text.contains(&word), "{} holds {word}", path.display());
    }
}
