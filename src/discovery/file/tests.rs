use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use tokio::time::timeout;

use super::lists::KnownFile;
use super::stamp::FileStamp;
use super::*;
use crate::clock::Timestamp;
use crate::config::discovery::SourceKind;
use crate::config::{self, Config};
use crate::discovery::list::SourceList;
use crate::task::stable_hash;

/// A directory with a source that consists of its files, which is removed in the end.
struct Fixture {
    dir: PathBuf,
    config: Config,
    source: FileSource,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("file-sd-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("token"), "secret").unwrap();
        let text = "
providers:
- { name: mj, preset: mjdjourney, authorization: { credentials_file: token } }
file_sd_configs: [{ name: a, files: ['?.yml', b.txt, '*.json', '*.txt'] }]
";
        let config = config::load_text("c.yml", text, &dir).unwrap().config;
        let source = source(&config);
        Self { dir, config, source }
    }

    fn write(&self, name: &str, content: &str) {
        // As a program should do it, so that no half is ever read.
        fs::write(self.dir.join(".new"), content).unwrap();
        fs::rename(self.dir.join(".new"), self.dir.join(name)).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.dir.join(name)).unwrap();
    }

    async fn refresh(&mut self) -> Result<Refresh, String> {
        let Config { providers, label_limits, .. } = &self.config;
        let refresh = self.source.refresh(providers, *label_limits).await;
        refresh.map_err(|error| self.shorten(&error))
    }

    /// The error without the name of the directory.
    fn shorten(&self, error: &RefreshError) -> String {
        error.to_string().replace(&format!("{}/", self.dir.display()), "")
    }

    /// The IDs of a whole list, or of a part with its error.
    async fn ids(&mut self) -> (String, Option<String>) {
        match self.refresh().await {
            Ok(Refresh::List(list)) => (ids(&list), None),
            Ok(Refresh::Partial(list, error)) => (ids(&list), Some(self.shorten(&error))),
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn source(config: &Config) -> FileSource {
    let source = Arc::clone(&config.discovery[0]);
    let SourceKind::File(files) = &source.kind else { panic!("{source:?}") };
    FileSource::new(Arc::clone(&source), Arc::clone(files))
}

fn ids(list: &SourceList) -> String {
    let ids: Vec<_> = list.tasks.iter().map(|listed| &*listed.task.id).collect();
    ids.join(" ")
}

fn whole(ids: &str) -> (String, Option<String>) {
    (ids.to_owned(), None)
}

fn partial(ids: &str, error: &str) -> (String, Option<String>) {
    (ids.to_owned(), Some(error.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn files_come_change_and_go() {
    let mut fixture = Fixture::new("life");
    assert_eq!(fixture.ids().await, whole(""));
    assert_eq!(fixture.refresh().await, Ok(Refresh::Unchanged));
    fixture.write("c.json", r#"["c", "both", {"id": null}]"#);
    fixture.write("b.txt", "b\nboth\n..\n");
    fixture.write("a.yml", "- a\n");
    let Ok(Refresh::List(list)) = fixture.refresh().await else { panic!("no list") };
    // In the order of the globs, whatever they match again.
    assert_eq!(ids(&list), "a b both c");
    assert_eq!(list.rejected.total(), 2);
    let rejected = list.rejected.first().iter().map(|element| element.message.as_str());
    let rejected: Vec<_> = rejected.map(|message| message.rsplit('/').next().unwrap()).collect();
    assert_eq!(
        rejected,
        [
            "b.txt: line 3: a task ID must not be `.` or `..`, which no URL can carry",
            "c.json: element 3: a task ID must be text, not null"
        ]
    );
    assert_eq!(fixture.refresh().await, Ok(Refresh::Unchanged));
    fixture.write("a.yml", "- a2\n");
    assert_eq!(fixture.ids().await, whole("a2 b both c"));
    fixture.remove("b.txt");
    assert_eq!(fixture.ids().await, whole("a2 c both"));
    // Equal lists in another form are no change.
    fixture.write("c.json", r#"["c", {"id": "both"}, {"id": null}]"#);
    assert_eq!(fixture.refresh().await, Ok(Refresh::Unchanged));
    fixture.source.forget_validators();
    assert_eq!(fixture.ids().await, whole("a2 c both"));
}

#[tokio::test(start_paused = true)]
async fn a_bad_file_keeps_its_last_good_list() {
    let mut fixture = Fixture::new("bad");
    fixture.write("a.yml", "- a");
    fixture.write("b.txt", "b");
    assert_eq!(fixture.ids().await, whole("a b"));
    // Written half.
    fixture.write("a.yml", "- a\n- {id: ");
    let cut = "decode: a.yml: line 2 column 3: not valid YAML: a quote or bracket is never closed";
    assert_eq!(fixture.refresh().await, Err(cut.to_owned()));
    assert_eq!(fixture.refresh().await, Err(cut.to_owned()));
    fixture.write("b.txt", "b2");
    assert_eq!(fixture.ids().await, partial("a b2", cut));
    assert_eq!(fixture.refresh().await, Err(cut.to_owned()));
    // A reload does not lose it either.
    let config = Arc::clone(&fixture.config.discovery[0]);
    let SourceKind::File(files) = &config.kind else { panic!("{config:?}") };
    fixture.source.reconfigure(Arc::clone(&config), Arc::clone(files));
    assert_eq!(fixture.ids().await, partial("a b2", cut));
    fixture.remove("b.txt");
    assert!(Command::new("mkfifo").arg(fixture.dir.join("b.txt")).status().unwrap().success());
    let more = format!("{cut} (and 1 more)");
    assert_eq!(fixture.refresh().await, Err(more));
    fixture.write("a.yml", "- a3");
    let pipe = "read: b.txt: not a regular file";
    assert_eq!(fixture.ids().await, partial("a3 b2", pipe));
    fixture.remove("b.txt");
    std::os::unix::fs::symlink("nowhere", fixture.dir.join("b.txt")).unwrap();
    assert_eq!(fixture.ids().await, whole("a3"));
    fixture.remove("a.yml");
    assert_eq!(fixture.ids().await, whole(""));
}

#[tokio::test(start_paused = true)]
async fn nothing_good_is_no_list() {
    let mut fixture = Fixture::new("first");
    fixture.write("a.json", "");
    let empty = "decode: a.json: empty: a list without tasks is []";
    assert_eq!(fixture.refresh().await, Err(empty.to_owned()));
    fixture.write("b.txt", "b");
    assert_eq!(fixture.ids().await, partial("b", empty));
    fixture.remove("b.txt");
    assert_eq!(fixture.ids().await, partial("", empty));
    fixture.remove("a.json");
    std::os::unix::fs::symlink("token", fixture.dir.join("a.json")).unwrap();
    let secret = "read: a.json: a secret file cannot be a list of tasks";
    assert_eq!(fixture.refresh().await, Err(secret.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn files_are_limited_one_by_one_and_together() {
    let mut fixture = Fixture::new("limits");
    fixture.write("b.txt", "b");
    let large = File::create(fixture.dir.join("c.txt")).unwrap();
    large.set_len((32 << 20) + 1).unwrap();
    let error = "too_large: c.txt: larger than 32 MiB";
    assert_eq!(fixture.ids().await, partial("b", error));
    large.set_len(512 << 20).unwrap();
    let error = "too_large: the files together are larger than 512 MiB".to_owned();
    assert_eq!(fixture.refresh().await, Err(error.clone()));
    // The error is no change, but its end is.
    let mut lists = fixture.source.lists.lock();
    assert!(!lists.has_changed(&fixture.source.files, SystemTime::now()));
    fs::remove_file(fixture.dir.join("c.txt")).unwrap();
    assert!(lists.has_changed(&fixture.source.files, SystemTime::now()));
}

#[test]
fn all_files_share_the_limit_of_elements() {
    let fixture = Fixture::new("elements");
    let mut lists = FileLists::default();
    let read = |lists: &mut FileLists| {
        let reader = FileReader {
            config: Arc::clone(&fixture.source.config),
            files: Arc::clone(&fixture.source.files),
            providers: fixture.config.providers.clone(),
            limits: fixture.config.label_limits,
            now: Timestamp::from_micros(1_796_022_000_000_000),
            max_elements: 3,
            must_parse: false,
            must_read: false,
            returned: None,
        };
        let FilesRead { list, error, .. } = reader.read(lists).unwrap();
        (ids(&list.unwrap()), error.map(|error| fixture.shorten(&error)))
    };
    fixture.write("a.json", "[1, 1]");
    fixture.write("b.txt", "2\n3");
    let error = "too_large: a.json: more than 3 elements in all files";
    assert_eq!(read(&mut lists), partial("2 3", error));
    fixture.write("b.txt", "2");
    assert_eq!(read(&mut lists), whole("2 1"));
    fixture.write("b.txt", "2\n3");
    let error = "too_large: b.txt: more than 3 elements in all files";
    assert_eq!(read(&mut lists), partial("2 1", error));
}

#[tokio::test(start_paused = true)]
async fn a_change_is_seen_and_nothing_else() {
    let mut fixture = Fixture::new("watch");
    fixture.write("b.txt", "b");
    fixture.write("c.json", "{");
    assert_eq!(fixture.ids().await.0, "b");
    let minute = Duration::from_secs(60);
    let steps: [fn(&Fixture); 5] = [
        |fixture| fixture.write("b.txt", "b"),
        |fixture| fixture.write("d.txt", "d"),
        |fixture| fixture.remove("d.txt"),
        |fixture| fs::write(fixture.dir.join("b.txt"), "c").unwrap(),
        |fixture| fixture.remove("c.json"),
    ];
    for step in steps {
        assert!(timeout(minute, fixture.source.changed()).await.is_err());
        step(&fixture);
        timeout(minute, fixture.source.changed()).await.unwrap();
        let _ = fixture.refresh().await;
    }
}

#[test]
fn a_change_that_leaves_the_same_metadata_is_seen_a_little_later() {
    let fixture = Fixture::new("step");
    fixture.write("b.txt", "b");
    let (path, now) = (fixture.dir.join("b.txt"), SystemTime::now());
    let later = now + Duration::from_secs(10);
    let file = |content: &str| KnownFile {
        path: path.clone(),
        stamp: FileStamp::of(&path, now),
        hash: Some(stable_hash([content.as_bytes()])),
        ..KnownFile::default()
    };
    let mut same = file("b");
    assert!(same.stamp.unwrap().is_recent);
    assert!(!same.has_changed(now) && !same.has_changed(later) && !same.has_changed(later));
    assert!(!same.stamp.unwrap().is_recent, "it is compared once");
    let mut other = file("a");
    assert!(!other.has_changed(now) && other.has_changed(later) && other.has_changed(later));
    assert_eq!(FileStamp::of(Path::new("/nonexistent"), now), None);
}
