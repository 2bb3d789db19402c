//! The memory that lists of tasks take, valid and broken ones, in processes with a limit on it.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::thread;

use crate::harness::{Dir, Exporter, PROGRAM};

/// Limit on the memory of a check: a multiple of the bytes that it reads, bytes for each task, and
/// further bytes. `RLIMIT_DATA` counts memory that is written to, and not the program itself.
const FACTOR: usize = 8;
const EACH_TASK: usize = 300;
const FURTHER: usize = 24 << 20;
/// Bytes for each target of a group in YAML.
const EACH_TARGET: usize = 100;
/// Bytes that a running exporter needs for the history of each task, in addition.
const EACH_KNOWN_TASK: usize = 400;

const PROVIDER: &str = "global: { poll_interval: 1y }\n\
    providers: [{ name: mj, preset: mjdjourney, base_url: 'http://127.0.0.1:1' }]\n";

/// The sizes of lists: of those that take a debug build little time, and of the others.
const LARGE: usize = 2 << 20;
const SMALL: usize = 512 << 10;

/// Kinds of files that a list can be in.
#[derive(Clone, Copy, Debug)]
enum Place {
    Yaml,
    Text,
    Main,
}

/// A list, how many different tasks it has, and what a check says of it; nothing if it is valid.
struct List {
    place: Place,
    text: String,
    tasks: usize,
    says: &'static str,
}

/// Repeats an item up to a size.
fn repeat(size: usize, item: &str) -> String {
    item.repeat(size / item.len())
}

/// Makes items from their numbers up to a size. Returns how many there are as well.
fn number(size: usize, item: impl Fn(usize) -> String) -> (String, usize) {
    let (mut text, mut count) = (String::new(), 0);
    while text.len() < size {
        text.push_str(&item(count));
        count += 1;
    }
    (text, count)
}

fn uuid(number: usize) -> String {
    format!("{number:08x}-dda7-4186-ac86-6e16c1fcef17")
}

/// Makes a list of items, one a line, each with a task of its own.
fn items(place: Place, size: usize, says: &'static str, item: impl Fn(usize) -> String) -> List {
    let mark = if matches!(place, Place::Text) { "" } else { "- " };
    let (text, tasks) = number(size, |n| format!("{mark}{}\n", item(n)));
    List { place, text, tasks, says }
}

fn valid() -> Vec<List> {
    let short = |n| format!("{n:x}");
    let labels = |n| format!("{{ id: {n:x}, labels: {{ customer: c{n} }} }}");
    let mut lists = vec![
        items(Place::Text, LARGE, "", uuid),
        items(Place::Text, LARGE, "", short),
        items(Place::Yaml, LARGE, "", |n| uuid(n).repeat(100)),
        List { place: Place::Text, text: repeat(LARGE, "\n"), tasks: 0, says: "" },
        List { place: Place::Text, text: repeat(LARGE, "# none\n"), tasks: 0, says: "" },
    ];
    for place in [Place::Yaml, Place::Main] {
        lists.extend([
            items(place, SMALL, "", uuid),
            items(place, SMALL, "", short),
            items(place, SMALL, "", labels),
        ]);
    }
    lists
}

fn broken() -> Vec<List> {
    let list = |place, tasks, says, text: String| List { place, text, tasks, says };
    let mut lists = vec![
        list(Place::Text, 1, "duplicate task", repeat(LARGE, "a\n")),
        list(Place::Text, 0, "a task ID", repeat(LARGE, "..\n")),
        list(Place::Text, 0, "a `#` after a task ID", repeat(LARGE, "a #\n")),
        list(Place::Text, 0, "a task ID must have at most", repeat(LARGE, "a")),
        list(Place::Yaml, 0, "a control character", repeat(LARGE, "\u{0}")),
        list(Place::Yaml, 0, "nested too deeply", repeat(LARGE, "[")),
        list(Place::Yaml, 0, "nested too deeply", repeat(LARGE, "- ")),
    ];
    for place in [Place::Yaml, Place::Main] {
        lists.extend([
            list(place, 1, "duplicate task", repeat(SMALL, "- a\n")),
            list(place, 0, "a task ID", repeat(SMALL, "- ..\n")),
            list(place, 1, "duplicate task", format!("- &a x\n{}", repeat(SMALL, "- *a\n"))),
            items(place, SMALL, "unknown provider", |n| format!("{{ id: {n}, provider: none }}")),
        ]);
    }
    let deep = format!("- {}a{}\n", "[".repeat(50), "]".repeat(50));
    let wide = format!("- &a [{}]\n", repeat(10_000, "x,"));
    let (keys, _) = number(LARGE, |n| format!("k{n}: v, "));
    lists.extend([
        list(Place::Yaml, 1, "duplicate task", format!("[{}]\n", repeat(SMALL, "a,"))),
        list(Place::Yaml, 0, "missing value", repeat(SMALL, "-\n")),
        list(Place::Yaml, 0, "expected text", repeat(SMALL, &deep)),
        list(Place::Yaml, 0, "aliases expand", format!("{wide}{}", repeat(SMALL, "- *a\n"))),
        list(Place::Yaml, 0, "closing bracket without", repeat(SMALL, "- a\n") + "]"),
        list(Place::Yaml, 0, "more keys and values", format!("- {{{keys}}}\n")),
        items(Place::Yaml, SMALL, "unknown key", |n| format!("{{ id: {n}, key: value }}")),
        items(Place::Yaml, SMALL, "more than 10000 anchors", |n| format!("&a{n} x{n}")),
    ]);
    lists
}

/// Writes a list and the configuration that has it. Returns how many bytes they have.
fn write(dir: &Dir, list: &List) -> usize {
    let List { place, text, .. } = list;
    let (main, file) = match place {
        Place::Yaml => (format!("{PROVIDER}task_files: [list.yml]\n"), Some("list.yml")),
        Place::Text => (format!("{PROVIDER}task_files: [list.txt]\n"), Some("list.txt")),
        Place::Main => (format!("{PROVIDER}tasks:\n{text}"), None),
    };
    dir.write("aitask.yml", &main);
    if let Some(name) = file {
        dir.write(name, text);
    }
    main.len() + file.map_or(0, |_| text.len())
}

/// Runs the program on the configuration in `dir`, with as much memory as `read` bytes with `tasks`
/// tasks should take.
fn run_limited(argument: &str, dir: &Dir, read: usize, tasks: usize) -> (usize, Output) {
    let limit = (FACTOR * read + EACH_TASK * tasks + FURTHER) >> 10;
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -d {limit} && exec \"$@\""), "sh", PROGRAM])
        .args([argument, "--config.file"])
        .arg(dir.path("aitask.yml"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (limit, output)
}

/// Checks a list in a process that may take as much memory as it should.
fn check(list: &List) {
    let dir = Dir::new();
    let read = write(&dir, list);
    let (limit, output) = run_limited("--config.check", &dir, read, list.tasks);
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.get(..said.floor_char_boundary(300)).unwrap();
    let start = &list.text[..list.text.floor_char_boundary(60)];
    let expected = if list.says.is_empty() { 0 } else { 2 };
    assert_eq!(
        output.status.code(),
        Some(expected),
        "{limit} KiB: {:?} {start:?}: {said}",
        list.place
    );
    assert!(said.contains(list.says), "{:?} {start:?}: {said}", list.place);
}

/// Checks each of the lists, two at once.
fn check_all(lists: &[List]) {
    thread::scope(|scope| {
        for half in [0, 1] {
            scope.spawn(move || lists.iter().skip(half).step_by(2).for_each(check));
        }
    });
}

#[test]
fn a_valid_list_takes_a_few_times_its_size() {
    check_all(&valid());
}

#[test]
fn a_broken_list_takes_a_few_times_its_size() {
    check_all(&broken());
}

/// The most memory that an exporter has had, in bytes.
fn peak(exporter: &Exporter) -> usize {
    let peak = exporter.process.status("VmHWM");
    peak.trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
fn a_running_exporter_takes_a_few_times_the_size_of_its_lists() {
    let list = |place, from| items(place, SMALL / 2, "", move |n| format!("{:x}", n + from));
    let empty = peak(&Exporter::start(PROVIDER));
    for place in [Place::Yaml, Place::Main] {
        let dir = Dir::new();
        let first = list(place, 0);
        let mut read = write(&dir, &first);
        let exporter = Exporter::start_in(dir, &[]);
        let (mut tasks, mut known) = (first.tasks, first.tasks);
        // Twice every task leaves, and another one comes.
        for round in 0..3 {
            if round > 0 {
                let next = list(place, round << 20);
                read = read.max(write(&exporter.process.dir, &next));
                tasks = tasks.max(next.tasks);
                // The records of tasks that have left are kept in case they come back.
                known += next.tasks;
                let main = fs::read_to_string(exporter.process.dir.path("aitask.yml")).unwrap();
                assert_eq!(exporter.reload(&main).status, 200);
            }
            assert_eq!(exporter.get("/metrics").status, 200);
        }
        let peak = peak(&exporter) - empty;
        let most = FACTOR * read + EACH_TASK * tasks + EACH_KNOWN_TASK * known + FURTHER;
        assert!(peak < most, "{place:?}: {peak} of {most} bytes: {tasks} tasks, {read} read");
    }
}

/// The list of a source in the file `list.EXTENSION`, how many different tasks it has, and what
/// `discover` says of it: its numbers, or an error.
struct SourceFile {
    extension: &'static str,
    text: String,
    tasks: usize,
    says: String,
}

impl SourceFile {
    fn valid(extension: &'static str, (text, tasks): (String, usize)) -> Self {
        Self { extension, text, tasks, says: format!("file a: {tasks} tasks, 0 elements rejected") }
    }

    fn invalid(extension: &'static str, text: String, says: &str) -> Self {
        Self { extension, text, tasks: 0, says: says.to_owned() }
    }

    fn discover(&self) {
        let Self { extension, text, tasks, says } = self;
        let (dir, name) = (Dir::new(), format!("list.{extension}"));
        dir.write(&name, text);
        let source = format!("{{ name: a, files: [{name}], timeout: 5m }}");
        dir.write("aitask.yml", &format!("{PROVIDER}file_sd_configs: [{source}]\n"));
        let (limit, output) = run_limited("discover", &dir, text.len(), *tasks);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let start = &text[..text.floor_char_boundary(60)];
        let shown = said.get(..said.floor_char_boundary(300)).unwrap();
        assert!(said.contains(says), "{limit} KiB: {extension} {start:?}: {shown}");
    }
}

fn source_files() -> Vec<SourceFile> {
    let json = |size, item: &dyn Fn(usize) -> String| {
        let (items, count) = number(size, |n| format!("{},", item(n)));
        (format!("[{}]", items.trim_end_matches(',')), count)
    };
    let group = |(targets, count): (String, usize), labels: &str| {
        (format!("[{{\"targets\":{targets},\"labels\":{labels}}}]"), count)
    };
    let quoted = |n| format!("\"{}\"", uuid(n));
    let with_labels = |n| format!("{{\"id\":{n},\"labels\":{{\"customer\":\"c{n}\"}}}}");
    let million = 1 << 20;
    let rejected = |text: String, count: usize| SourceFile {
        extension: "json",
        text,
        tasks: 0,
        says: match count {
            1 => "file a: 0 tasks, 1 element rejected".to_owned(),
            _ => format!("file a: 0 tasks, {count} elements rejected"),
        },
    };
    let yaml = |size, item: &dyn Fn(usize) -> String| number(size, |n| format!("- {}\n", item(n)));
    let too_many = "too_large: ";
    vec![
        SourceFile::valid("json", json(LARGE, &quoted)),
        SourceFile::valid("json", json(SMALL, &|n| n.to_string())),
        SourceFile::valid("json", group(json(LARGE, &quoted), "{\"a\":\"b\"}")),
        SourceFile::valid("json", json(SMALL, &with_labels)),
        SourceFile::valid("yml", yaml(SMALL, &uuid)),
        SourceFile::valid("yml", group(json(SMALL, &uuid), "{ a: b }")),
        SourceFile::valid("yml", yaml(SMALL, &with_labels)),
        SourceFile::valid("txt", number(LARGE, |n| format!("{n:x}\n"))),
        rejected(format!("[{}]", repeat(SMALL, "[],").trim_end_matches(',')), SMALL / 3),
        SourceFile::invalid("json", format!("[{}0]", "0,".repeat(million)), too_many),
        // The targets of a group are held until it has ended.
        SourceFile {
            tasks: million * EACH_TARGET / EACH_TASK,
            ..SourceFile::invalid(
                "yml",
                group((format!("[{}]", "a,".repeat(million)), 0), "{}").0,
                too_many,
            )
        },
        SourceFile::invalid("txt", "a\n".repeat(million), too_many),
        SourceFile::invalid("json", repeat(LARGE, "["), "nested deeper than 128"),
        SourceFile::invalid("json", repeat(LARGE, "[\"a\","), "nested deeper than 128"),
        SourceFile::invalid("json", format!("[{}", repeat(LARGE, "\"a\",")), "the JSON is cut off"),
        SourceFile::invalid("yml", repeat(SMALL, "- a\n") + "]", "closing bracket without"),
        rejected(
            format!("[{{\"id\":0,\"labels\":{{{}\"b\":\"\"}}}}]", repeat(LARGE, "\"a\":\"\",")),
            1,
        ),
    ]
}

#[test]
fn a_list_of_a_source_takes_a_few_times_its_size() {
    let files = source_files();
    thread::scope(|scope| {
        for half in [0, 1] {
            let files = &files;
            scope.spawn(move || files.iter().skip(half).step_by(2).for_each(SourceFile::discover));
        }
    });
}
