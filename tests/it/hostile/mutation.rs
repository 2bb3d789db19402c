//! Mutations of a corpus: the same in every run, and shrunk where one fails.

use std::fmt;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Tokens that confuse parsers.
const TOKENS: &[&str] = &[
    "\0",
    "\n",
    "\r\n",
    "\t",
    " ",
    "\u{feff}",
    "\u{2028}",
    "\u{1b}[31m",
    "\u{202e}",
    "é",
    "\"",
    "'",
    "\\",
    "\\u0000",
    "\\\"",
    "{",
    "}",
    "[",
    "]",
    ":",
    ": ",
    ",",
    "- ",
    "#",
    "&a ",
    "*a",
    "<<: ",
    "!x ",
    "|\n",
    "%",
    "%00",
    "%FF",
    "+",
    "=",
    "&",
    "0",
    "-1",
    "1e999",
    "-0",
    "NaN",
    "null",
    "true",
    "18446744073709551616",
    "9223372036854775807",
    "0001-01-01T00:00:00Z",
];

/// A change of some bytes.
#[derive(Clone, Debug)]
enum Edit {
    Insert(Index, Vec<u8>),
    Token(Index, &'static str),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
    /// Some bytes of another file.
    Splice(Index, Index, Index, usize),
    Truncate(Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        (at(), prop::collection::vec(any::<u8>(), 1..5)).prop_map(|(at, b)| Edit::Insert(at, b)),
        (at(), prop::sample::select(TOKENS)).prop_map(|(at, token)| Edit::Token(at, token)),
        (at(), 1..20_usize).prop_map(|(at, length)| Edit::Remove(at, length)),
        (at(), 1..20_usize, 1..300_usize).prop_map(|(at, l, times)| Edit::Repeat(at, l, times)),
        (at(), at(), at(), 1..60_usize).prop_map(|(at, f, from, l)| Edit::Splice(at, f, from, l)),
        at().prop_map(Edit::Truncate),
    ]
}

fn apply(edit: &Edit, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let place = |at: &Index| at.index(bytes.len() + 1);
    let part = |bytes: &[u8], from: usize, length: usize| {
        bytes[from..bytes.len().min(from + length)].to_vec()
    };
    match edit {
        Edit::Insert(at, new) => drop(bytes.splice(place(at)..place(at), new.clone())),
        Edit::Token(at, token) => drop(bytes.splice(place(at)..place(at), token.bytes())),
        Edit::Remove(at, length) => {
            let from = place(at);
            drop(bytes.drain(from..bytes.len().min(from + length)));
        }
        Edit::Repeat(at, length, times) => {
            let from = place(at);
            let new = part(bytes, from, *length).repeat(*times);
            drop(bytes.splice(from..from, new));
        }
        Edit::Splice(at, file, from, length) => {
            let file = &corpus[file.index(corpus.len())];
            let new = part(file, from.index(file.len() + 1), *length);
            drop(bytes.splice(place(at)..place(at), new));
        }
        Edit::Truncate(at) => bytes.truncate(place(at)),
    }
}

/// Bytes as a file of the corpus would have them.
struct Shown(Vec<u8>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// Runs `target` with `count` mutations of the corpus.
pub fn attack(corpus: &[Vec<u8>], count: u32, target: fn(&[u8])) {
    let edits = (any::<Index>(), prop::collection::vec(edit(), 1..6));
    let mutations = edits.prop_map(|(file, edits)| {
        let mut bytes = corpus[file.index(corpus.len())].clone();
        for edit in &edits {
            apply(edit, &mut bytes, corpus);
        }
        Shown(bytes)
    });
    let config = Config { cases: count, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let outcome = TestRunner::new_with_rng(config, rng).run(&mutations, |Shown(bytes)| {
        target(&bytes);
        Ok(())
    });
    if let Err(found) = outcome {
        panic!("{found}\nonce it is mended, keep it in the corpus");
    }
}
