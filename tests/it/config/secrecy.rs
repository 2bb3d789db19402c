//! Errors in a configuration with secrets show everything but the secrets.

use std::fs;

use aitask_exporter::config;

use super::load_text;
use crate::harness::compute_in_background;

/// No rule knows it by a word in it.
const SECRET: &str = "hunter2-XYZZY";

/// Provider blocks that are wrong, each with a secret somewhere.
const LEAKS: &[&str] = &[
    "authorization: SECRET",
    "authorization: [SECRET]",
    "authorization: {SECRET}",
    "authorization:\n      SECRET",
    "authorization:\n    - SECRET",
    "authorization: { credentials: [SECRET] }",
    "authorization: { credentials: { SECRET: x } }",
    "authorization: { credentials: { x: SECRET } }",
    "authorization: { credentials: SECRET, credentials: SECRET }",
    "authorization: { credentials: SECRET, credentials_file: SECRET }",
    "authorization: { credentials_file: [SECRET] }",
    "authorization: { type: Bearer SECRET, credentials: SECRET }",
    "authorization: { header: SECRET y, credentials: SECRET }",
    "authorization: { bearer: SECRET }",
    "authorization: { value: SECRET }",
    "authorization:\n      credentials: \"SECRET\\n\"",
    "authorization:\n      credentials: |\n        SECRET\n        SECRET\n      x: SECRET",
    "authorization:\n      credentials: >-\n        SECRET\n\n        SECRET\n    poll_interval: 1",
    "authorization: &a\n      credentials: SECRET\n    basic_auth: *a",
    "authorization: { credentials: &s SECRET }\n    poll_interval: *s",
    "authorization: { credentials: &s SECRET }\n    preset: *s",
    "x-common: &s SECRET\n    poll_interval: *s",
    "x-common: &s\n      a: SECRET\n    rate_limit: *s",
    "authoriztion: SECRET",
    "autorisation: { credentials: SECRET }",
    "Authorization: Bearer SECRET",
    "credentails: SECRET",
    "pasword: SECRET",
    "tokn: SECRET",
    "api: SECRET",
    "SECRET",
    "? SECRET",
    "? [SECRET]",
    "basic_auth: { username: a, password: [SECRET] }",
    "basic_auth: { username: a, passwd: SECRET }",
    "basic_auth: { username: 'SECRET:', password: SECRET }",
    "basic_auth: a:SECRET",
    "basic_auth: { username: a, password: SECRET, password_file: SECRET }",
    "http_headers: { x-a: SECRET }",
    "http_headers: { x-a: [SECRET] }",
    "http_headers: { x-a: { secrets: SECRET } }",
    "http_headers: { x-a: { values: [[SECRET]] } }",
    "http_headers:\n      x-a:\n        secrets:\n        - [SECRET]\n        - SECRET: x",
    "http_headers: { authorization: { secrets: [SECRET] }, mj-api-secret: { secrets: [SECRET] } }",
    "proxy_url: http://user:SECRET@",
    "proxy_url: [http://user:SECRET@host]",
    "base_url: ftp://user:SECRET@host",
    "base_url: https//user:SECRET@host",
    "base_url: [https://user:SECRET@host]",
    "base_url: https://host/?t=SECRET",
    "base_url: https://host/#SECRET",
    "base_url: https://user:SECRET@host\n    authorization: { credentials: SECRET }",
    "base_url: !x https://user:SECRET@host",
    "authorization: !x SECRET",
    "authorization: !SECRET x",
    "authorization: { credentials: *SECRET }",
    "authorization: { credentials: !!int SECRET }",
    "authorization: { credentials: !!bool SECRET }",
    "authorization: { credentials: \"SECRET }",
    "authorization: { credentials: 'SECRET",
    "authorization: { credentials: \"\\q SECRET\" }",
    "authorization: { credentials: \"SECRET\" SECRET }",
    "authorization: { credentials: SECRET",
    "authorization: { credentials: @SECRET }",
    "authorization: { credentials: `SECRET }",
    "authorization: { credentials: %SECRET, }}",
    "authorization: credentials: SECRET",
    "authorization:\n      credentials SECRET",
    "authorization:\n      credentials SECRET\n      type: Bearer",
    "authorization:\n      credentials:SECRET\n      type: Bearer",
    "authorization:\n      credentials:\nSECRET",
    "authorization:\n      credentials: x\n SECRET",
    "authorization:\n      credentials: x\n SECRET: x",
    "authorization:\n\tcredentials: SECRET",
    "authorization:\n      credentials: x\n\tSECRET: y",
    "authorization:\n      credentials: 'x\n\nSECRET\n' y",
    "authorization: {\ncredentials:\nSECRET, x: [ }",
    "authorization: [\nx,\nSECRET\n",
    "authorization:\n      - credentials:\n      - - SECRET\n     - SECRET",
    "authorization:\n      credentials: |\n        SECRET\n     SECRET\n   SECRET",
    "authorization:\n      credentials: SECRET\r      x: [SECRET\r",
    "authorization:\n      credentials: x\u{85}SECRET\u{2028}SECRET: [",
    "authorization:\n      credentials: \u{7}SECRET",
    "authorization: { password \"SECRET\" }",
    "authorization: { credentials: &SECRET }",
    "authorization: { credentials: &SECRET [], type: [a] }",
    "authorization: { credentials: \"x\n      SECRET\", header: [a] }",
    "authorization: { credentials: x\n      SECRET\n      , header: [a] }",
    "authorization:\n      credentials: |\n        x\n        SECRET\n      header: [a]",
    "authorization:\n      credentials: \"SECRET\\\n        SECRET\"\n      header: [a]",
    "authorization:\n      type: Bearer SECRET",
    "authorization: { credentials: \"${SECRET}\" }",
    "authorization: { credentials: \"Bearer SECRET\" }",
    "authorization: { credentials: \"TOKEN=SECRET\" }",
    "authorization: { credentials: \"'SECRET'\" }",
    "authorization: { credentials: \"SECRET\u{200b}\" }",
    "basic_auth: { username: a, password: \"$SECRET\" }",
    "<<: { authorization: { credentials: SECRET }, preset: a }",
    "<<: [{ api: SECRET }, { x: &s SECRET }]\n    poll_interval: *s",
    "http_headers: { Authorization: { values: [SECRET, [x]] } }",
    "http_headers: { mj-api-secret: { values: [[x], SECRET] } }",
    "http_headers: { x-a: { value: SECRET } }",
    "authorization: { header: x-a }\n    http_headers: { X-A: { values: [SECRET, [x]] } }",
    "base_url: 'http://user:SECRET'",
    "proxy_url: user:SECRET",
    "base_url: 'https://${SECRET}@host'",
    "preset: { credentials: SECRET }",
    "poll_interval: [SECRET]",
    "rate_limit: { requests: 1, token: SECRET }",
    "request: { query: { key: SECRET }, path: [SECRET-token] }",
    "request: { query: { key: 'SECRET{', q: '{task id}' } }",
    "request: { query: { key: SECRET, q: '{oops' }, path: / }",
    "request: { method: POST, body: { key: [SECRET, '{oops'] }, path: '/{task_id}' }",
    "request: { method: POST, body: { key: SECRET }, path: / }",
    "request: { batch: { query: { key: 'SECRET{oops' } } }",
    "request: { list: { query: { key: 'SECRET{oops' }, path: /x } }",
    "request: { list: { query: { key: 'SECRET{task_id}' }, path: /x } }",
    "request: { list: { body: { key: SECRET }, path: /x } }",
    "list: { refresh_interval: 0s }\n    request: { list: { path: /x, query: { key: SECRET } } }",
    "tls_config: { key: SECRET }",
    "limits: { a: [SECRET, { SECRET: SECRET }], ? SECRET }",
];

/// The texts that errors show even though a secret may be beside them: names of keys and of files.
const NAMES: [&str; 12] = [
    "tokn: SECRET",
    "authorization: { tokn: SECRET }",
    "authorization: { tokn: { a: SECRET } }",
    "authorization:\n      tokn:",
    "authorization: { tokn: , credentials: SECRET }",
    "authorization: { credentials: SECRET, \"tokn\" : [] }",
    "authorization: { credentials_file: tokn }",
    "basic_auth: { username: a, password_file: tokn }",
    "http_headers: { x-a: { secrets: [SECRET], files: [tokn] } }",
    "http_headers: { x-a: { tokn: SECRET } }",
    "tls_config: { ca_file: tokn }",
    "tls_config: { cert_file: tokn, key_file: tokn }",
];

#[test]
fn names_of_keys_and_files_are_always_said() {
    for name in NAMES {
        let block = name.replace("SECRET", SECRET);
        let text = format!("providers:\n  - name: a\n    preset: mjdjourney\n    {block}\n");
        let said = load_text(&text).unwrap_err();
        assert!(said.contains("tokn"), "{text}\n=>\n{said}");
        assert!(!said.contains("hunter2") && !said.contains("XYZZY"), "{text}\n=>\n{said}");
    }
}

#[test]
fn no_output_ever_has_a_secret() {
    for leak in LEAKS {
        for after in ["", "\n    poll_interval: 1\n", "\ntasks: [a]\n", "\ntasks:\n  - a\n - b\n"] {
            let block = leak.replace("SECRET", SECRET);
            let text =
                format!("providers:\n  - name: a\n    preset: mjdjourney\n    {block}{after}");
            let said = match load_text(&text) {
                Ok(config) => format!("{config:?}{}", config.shown),
                Err(said) => said,
            };
            assert!(!said.contains("hunter2") && !said.contains("XYZZY"), "{text}\n=>\n{said}");
        }
    }
}

/// Breaks a good file at every byte, in every way that YAML gives a meaning to.
#[test]
fn no_slip_of_the_pen_shows_a_secret() {
    compute_in_background();
    let text = format!(
        "providers:
- name: a
  preset: mjdjourney
  authorization:
    credentials: {SECRET}
- name: b
  preset: mjdjourney
  basic_auth: {{ username: u, password: \"{SECRET}\" }}
  http_headers:
    x-a:
      secrets:
      - {SECRET}
tasks:
- a
"
    );
    let slips = [
        "", "\n", " ", "\t", ":", ": ", "\"", "'", "{", "}", "[", "]", ",", "&", "*", "|", "@",
        "- ", "#",
    ];
    for at in 0..text.len() {
        for slip in slips {
            let until = if slip.is_empty() { at + 1 } else { at };
            let broken = format!("{}{slip}{}", &text[..at], &text[until..]);
            let said = load_text(&broken).map_or_else(|said| said, |config| config.shown);
            // A secret that the slip itself has cut in two is still recognizable by its halves.
            let leaked = said.contains("hunter2") || said.contains("XYZZY");
            assert!(!leaked, "{broken}\n=>\n{said}");
        }
    }
}

#[test]
fn a_secret_file_is_no_list_of_tasks() {
    let text = "providers: [{ name: a, preset: mjdjourney, \
                authorization: { credentials_file: lists/../lists/token.txt } }]\n\
                task_files: ['lists/*.txt']\n";
    let dir = std::env::temp_dir().join(format!("lists-{}", std::process::id()));
    fs::create_dir_all(dir.join("lists")).unwrap();
    fs::write(dir.join("lists/token.txt"), SECRET).unwrap();
    let said = config::load_text("c.yml", text, &dir).unwrap_err().to_string();
    fs::remove_dir_all(&dir).unwrap();
    assert!(said.starts_with("c.yml:2:14: a secret file cannot be a task file: "), "{said}");
    assert!(said.contains("lists/token.txt") && !said.contains(SECRET), "{said}");
}

#[test]
fn what_is_shown_has_no_secret() {
    let text = "
providers:
  - name: a
    preset: mjdjourney
    base_url: https://user:hunter2@example.com/x
    proxy_url: http://hunter2@proxy:3128
    http_headers:
      x-plain: { values: [seen], secrets: [hunter2] }
      Cookie: { values: [hunter2] }
    request:
      method: POST
      query: { api_key: hunter2, id: \"{task_id}\", both: \"hunter2{task_id}hunter2\" }
      body: { ids: [\"{task_id}\"], auth: { key: hunter2, pin: 20250 }, all: true }
  - name: b
    preset: mjdjourney
    authorization: { credentials: hunter2 }
  - name: c
    preset: mjdjourney
    basic_auth: { username: seen, password: hunter2 }
  - name: d
    preset: mjdjourney
    http_headers: { MJ-Api-Secret: { values: [hunter2] } }
tasks:
  - { id: one, provider: a, labels: { token: seen-label }, params: {} }
";
    let config = load_text(text).unwrap();
    for provider in &config.providers {
        let debugged = format!("{provider:?}");
        assert!(!debugged.contains("hunter2"), "{debugged}");
    }
    let shown = &config.shown;
    assert!(!shown.contains("hunter2") && !shown.contains("20250"), "{shown}");
    for part in [
        "poll_interval: 15s",
        "base_url: https://<secret>@example.com/x",
        "proxy_url: http://<secret>@proxy:3128/",
        "- seen",
        "id: '{task_id}'",
        "api_key: <secret>",
        "both: <secret>{task_id}<secret>",
        "pin: <secret>",
        "all: true",
        "token: seen-label",
        "username: seen",
        "credentials: <secret>",
        "path: /api/mj/task/{task_id}/fetch",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
}
