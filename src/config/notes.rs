//! Notes on what is valid but probably not meant. A check prints them; they keep nothing from being
//! applied.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::http_client::credential_headers;
use super::{Auth, HttpClientConfig, raw};
use crate::yaml::diagnostic::{Diagnostic, DiagnosticSink};
use crate::yaml::span::Location;

/// The labels that Prometheus adds to every series of a scrape target.
const TARGET_LABELS: [&str; 2] = ["instance", "job"];

/// The permission of a file that lets all users read it, and of a directory that lets them enter it.
const OTHERS_READ: u32 = 0o004;
const OTHERS_ENTER: u32 = 0o001;

/// Quotes, which are rarely part of an ID, but may be left over from the place it was copied from.
const QUOTES: [char; 7] = ['"', '\'', '`', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}'];

/// Returns a note.
fn note(location: Location, message: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::new(location, format!("note: {message}"))
}

/// Notes a glob that matches no file. `missing` is the first directory that does not exist.
pub fn note_unmatched_glob(
    notes: &DiagnosticSink,
    location: Location,
    glob: &str,
    missing: Option<&Path>,
) {
    let diagnostic = note(location, "no file matches").quote(glob);
    notes.push(match missing {
        Some(directory) => {
            diagnostic.hint(format!("there is no directory {}", directory.display()))
        }
        None => diagnostic,
    });
}

/// Notes a label that Prometheus renames, because its scrape target has one of the same name.
pub fn note_target_label(notes: &DiagnosticSink, location: Location, name: &str) {
    if TARGET_LABELS.contains(&name) && !notes.count_beyond(location) {
        let diagnostic = note(location, "the label has the name of a label of the scrape target");
        notes.push(diagnostic.quote(name).hint(format!(
            "Prometheus renames it to exported_{name}, unless honor_labels is set: choose another name"
        )));
    }
}

/// Notes a provider without credentials whose preset says how they are sent.
pub fn note_missing_credentials(
    notes: &DiagnosticSink,
    raw: &raw::RawProvider,
    client: &HttpClientConfig,
) {
    let Some((location, preset)) = raw.preset.located() else { return };
    let names = credential_headers(raw.authorization.get());
    let has_credentials = !matches!(client.auth, Auth::None)
        || client.tls.identity.is_some()
        || client
            .headers
            .iter()
            .any(|(header, _)| names.iter().any(|name| header.as_str().eq_ignore_ascii_case(name)));
    if raw.authorization.is_absent() || has_credentials {
        return;
    }
    let message = "the provider has no credentials, which APIs of its preset usually need";
    let diagnostic = note(location, message);
    notes.push(diagnostic.quote(preset).hint("write authorization: { credentials_file: … }"));
}

/// Notes a file with a secret that all users of the system can read.
pub fn note_readable_secret(notes: &DiagnosticSink, location: Location, path: &Path) {
    if can_others_read(path) {
        let diagnostic = note(location, "other users can read the secret file");
        let diagnostic = diagnostic.detail(path.display().to_string());
        notes.push(diagnostic.hint("take the permission away with chmod o-r"));
    }
}

/// Reports whether the permissions of a file and of all its directories let all users read it.
fn can_others_read(path: &Path) -> bool {
    let allows = |path: &Path, permission: u32| {
        fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & permission != 0)
    };
    fs::canonicalize(path).is_ok_and(|path| {
        allows(&path, OTHERS_READ)
            && path.ancestors().skip(1).all(|directory| allows(directory, OTHERS_ENTER))
    })
}

/// Notes an ID with white space or a quote.
pub fn note_odd_id(notes: &DiagnosticSink, location: Location, id: &str) {
    // A list may have a million IDs, hardly any of which is odd.
    if id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        return;
    }
    let has_blank = id.contains(char::is_whitespace);
    let found = match () {
        () if has_blank => "white space",
        () if id.contains(QUOTES) => "a quote",
        () => return,
    };
    if !notes.count_beyond(location) {
        let diagnostic = note(location, format!("the task ID contains {found}"));
        notes.push(diagnostic.quote(id).hint("it is sent as it is written here"));
    }
}
