//! Reads documents in Markdown: their fenced blocks, and the code between backticks.

use std::fs;

use crate::harness::root;

/// A fenced block of code.
#[derive(Debug)]
pub struct Block {
    /// Path of its document, from the root.
    pub path: String,
    /// The heading above it.
    pub heading: String,
    /// Line of its first fence.
    pub line: usize,
    /// The word behind the first fence.
    pub kind: String,
    pub text: String,
}

impl Block {
    /// Returns the place of the block, for messages.
    pub fn place(&self) -> String {
        format!("{}:{}", self.path, self.line)
    }
}

/// Code between backticks, on one line.
#[derive(Debug)]
pub struct Span {
    pub path: String,
    pub heading: String,
    pub text: String,
}

/// Reads a file of the repository.
pub fn read(path: &str) -> String {
    fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns every document: its path from the root, and its text.
pub fn documents() -> Vec<(String, String)> {
    let names = |folder: &str| {
        let entries = fs::read_dir(root(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.strip_suffix(".md").is_some()).collect::<Vec<_>>()
    };
    let in_docs = names("docs").into_iter().map(|name| format!("docs/{name}"));
    let mut all: Vec<_> = names(".").into_iter().chain(in_docs).collect();
    all.sort_unstable();
    assert!(all.len() > 8, "{all:?}");
    all.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// Returns the blocks of all documents, in their order.
pub fn blocks() -> Vec<Block> {
    documents().iter().flat_map(|(path, text)| blocks_of(path, text)).collect()
}

/// Returns the blocks of one document.
pub fn blocks_of(path: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut heading = String::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(kind)) => {
                open = Some(Block {
                    path: path.to_owned(),
                    heading: heading.clone(),
                    line: index + 1,
                    kind: kind.trim().to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text += line;
                block.text.push('\n');
            }
            (None, None) if line.starts_with('#') => title(line).clone_into(&mut heading),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{path}: a block does not end");
    blocks
}

/// Returns the code between backticks of all documents but the history of changes, whose statements
/// were true once.
pub fn spans() -> Vec<Span> {
    let documents = documents().into_iter().filter(|(path, _)| path != "CHANGELOG.md");
    documents.flat_map(|(path, text)| spans_of(&path, &text)).collect()
}

fn spans_of(path: &str, text: &str) -> Vec<Span> {
    // Paragraphs, since code may go on on the next line, without blocks.
    let (mut spans, mut heading, mut in_block) = (Vec::new(), String::new(), false);
    let mut paragraph = String::new();
    for line in text.lines().chain([""]) {
        let is_fence = line.trim_start().starts_with("```");
        if is_fence || line.is_empty() || line.starts_with('#') {
            let code = std::mem::take(&mut paragraph);
            spans.extend(code.split('`').skip(1).step_by(2).map(|code| Span {
                path: path.to_owned(),
                heading: heading.clone(),
                text: code.split_whitespace().collect::<Vec<_>>().join(" "),
            }));
        }
        in_block ^= is_fence;
        if is_fence || in_block {
            continue;
        }
        if line.starts_with('#') {
            title(line).clone_into(&mut heading);
        } else {
            paragraph += line;
            paragraph.push('\n');
        }
    }
    spans
}

fn title(line: &str) -> &str {
    line.trim_start_matches('#').trim()
}
