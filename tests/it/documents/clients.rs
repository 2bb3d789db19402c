//! The clients of docs/discovery.md register tasks at a running exporter.

use super::markdown::{Block, blocks};
use super::session::Session;
use crate::harness::{Dir, Exporter, Gateway};
use crate::registration;

/// The calls that a program makes with the function of a block, in its language; the program that runs
/// it, and the file with both. An ID with a slash and a space shows that it is encoded.
const PROGRAMS: [(&str, &str, &str, &str); 2] = [
    (
        "python",
        "python3",
        "client.py",
        "register('suno', 'a/python b', labels={'customer': 'acme'})\nregister('suno', 'bare-python')\n\
         try:\n    register('nowhere', 'a')\nexcept urllib.error.HTTPError as error:\n    assert error.code == 404\n\
         else:\n    raise SystemExit('no error')\n",
    ),
    (
        "js",
        "node",
        "client.mjs",
        "await register('suno', 'a/js b', { labels: { customer: 'acme' } })\nawait register('suno', 'bare-js')\n\
         const error = await register('nowhere', 'a').then(() => 'no error', error => error.message)\n\
         if (!error.includes('nowhere')) throw new Error(error)\n",
    ),
];

/// Kinds of blocks that are not run, each with the reason.
const EXCLUDED: [(&str, &str); 1] = [("go", "Debian's compiler takes 450 MB")];

#[test]
fn every_client_registers_tasks() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let provider = gateway.provider("suno", "");
    let flags = registration::flags(&storage, &[]);
    let exporter = Exporter::start_in(Dir::with(&format!("providers: [{provider}]\n")), &flags);
    let is_here = |block: &Block| {
        block.path == "docs/discovery.md" && block.heading == "Registration" && block.kind != "sh"
    };
    let blocks: Vec<_> = blocks().into_iter().filter(is_here).collect();
    let mut session = Session::new();
    for block in &blocks {
        if EXCLUDED.iter().any(|(kind, _)| *kind == block.kind) {
            continue;
        }
        let program = PROGRAMS.iter().find(|(kind, ..)| *kind == block.kind);
        let (kind, runner, file, calls) = program.unwrap_or_else(|| panic!("{}", block.place()));
        let text = block.text.replace("localhost:10054", &exporter.address.to_string());
        session.dir.write(file, &(text + calls));
        session.run(&format!("{runner} {file}"), "");
        let tasks = exporter.get(&format!("/api/v1/tasks?sort=task_id&search={kind}")).json();
        let tasks = tasks["tasks"].as_array().unwrap();
        let found = tasks.iter().map(|task| (task["task_id"].as_str(), task["labels"].to_string()));
        let (labelled, bare) = (format!("a/{kind} b"), format!("bare-{kind}"));
        let expected = [
            (Some(&*labelled), r#"{"customer":"acme"}"#.to_owned()),
            (Some(&*bare), "{}".to_owned()),
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
    assert_eq!(blocks.len(), PROGRAMS.len() + EXCLUDED.len());
}
