//! Configuration files: valid ones load, invalid ones are reported, and no output contains a
//! secret.

mod defaults;
mod secrecy;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aitask_exporter::config::{self, Auth, Config, Limits, Loaded, secret::Secret};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/config");

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("{DATA}/{folder}")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yml"));
    files.sort();
    assert!(!files.is_empty());
    files
}

fn load_text(text: &str) -> Result<Config, String> {
    load_with_tasks(text).map(|loaded| loaded.config)
}

fn load_with_tasks(text: &str) -> Result<Loaded, String> {
    config::load_text("c.yml", text, Path::new(DATA)).map_err(|diagnostics| diagnostics.to_string())
}

/// With UPDATE_GENERATED set, writes what is expected instead of comparing.
#[test]
fn bad_files_say_what_is_wrong() {
    let update = std::env::var_os("UPDATE_GENERATED").is_some();
    for path in files("bad") {
        let said = config::load(&path).expect_err(&path.display().to_string()).to_string();
        let said = said.replace(&format!("{DATA}/bad/"), "") + "\n";
        let expected = path.with_extension("err");
        if update {
            fs::write(&expected, &said).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(said, expected, "{}", path.display());
    }
}

#[test]
fn good_files_load() {
    for path in files("good") {
        let loaded = config::load(&path).map_err(|diagnostics| diagnostics.to_string());
        assert_eq!(loaded.err(), None, "{}", path.display());
    }
}

#[test]
fn absurd_nesting_is_refused_at_once() {
    for unit in ["[", "{a: ", "- ", "? ", "- - ? ", "[\n"] {
        let said = load_text(&unit.repeat(10_000_000 / unit.len())).unwrap_err();
        assert!(said.contains("c.yml:") && said.contains(": nested too deeply"), "{said}");
    }
    let said = load_text(&format!("{}{}", "[".repeat(500), "]".repeat(500))).unwrap_err();
    assert!(said.contains("nested too deeply"), "{said}");
}

#[test]
fn text_is_kept_as_it_is_written() {
    let path = format!("{DATA}/good/inline.yml");
    let Loaded { config, tasks } = config::load(Path::new(&path)).unwrap();
    let ids: Vec<_> = tasks.iter().map(|task| &*task.id).collect();
    assert_eq!(ids, ["1320098173412546", "1e5"]);
    assert_eq!(config.dropped_tasks, 1);
    let pairs = |labels: &[(Box<str>, Box<str>)]| {
        labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(pairs(&tasks[0].common.labels), ["a=1", "team=b"]);
    assert_eq!(pairs(&tasks[0].common.params), ["kind=text2video"]);
    let text = "
providers: [{ name: 007, preset: mjdjourney }]
tasks: [1320098173412546, 1e5, 007, 0x1F, true, 'null', \"a\\nb\", 1_000, +1, .5, ..x?y=1#z, [x]]
";
    assert!(load_text(text).unwrap_err().contains("expected text, found a list"));
    let Loaded { config, tasks } = load_with_tasks(&text.replace(", [x]", "")).unwrap();
    let ids: Vec<_> = tasks.iter().map(|task| &*task.id).collect();
    let expected = [
        "1320098173412546",
        "1e5",
        "007",
        "0x1F",
        "true",
        "null",
        "a\nb",
        "1_000",
        "+1",
        ".5",
        "..x?y=1#z",
    ];
    assert_eq!(ids, expected);
    assert_eq!(&*config.providers[0].name, "007");
}

#[test]
fn credentials_travel_in_one_header() {
    let auth = |block: &str| {
        let text = format!("providers:\n  - name: a\n    preset: mjdjourney\n    {block}");
        let mut config = load_text(&text).unwrap();
        std::sync::Arc::try_unwrap(config.providers.remove(0)).unwrap().client
    };
    let client = auth("authorization: { credentials: x }");
    assert!(
        matches!(client.auth, Auth::Header { name, scheme, .. } if name == "authorization" && &*scheme == "Bearer")
    );
    let client = auth("authorization: { credentials: x, header: mj-api-secret }");
    assert!(
        matches!(client.auth, Auth::Header { name, scheme, .. } if name == "mj-api-secret" && scheme.is_empty())
    );
    let client = auth(
        "authorization: { credentials: x }
    http_headers: { mj-api-secret: { secrets: [y] } }",
    );
    assert!(matches!(client.auth, Auth::None));
    assert_eq!(client.headers[0].0, "mj-api-secret");
    // Authorization carries credentials, also where the preset's header is another.
    let flux = load_text(
        "providers: [{ name: a, preset: bfl-flux, authorization: { credentials: x }, \
         http_headers: { Authorization: { secrets: [Bearer y] } } }]",
    );
    assert!(matches!(flux.unwrap().providers[0].client.auth, Auth::None));
    let client = auth("base_url: https://user:p%40ss@example.com");
    let Auth::Basic { username, password } = client.auth else { panic!("{:?}", client.auth) };
    assert_eq!(&*username, "user");
    assert_eq!(password.header_value("").unwrap(), "p@ss");
    assert!(matches!(auth("tls_config: {}").auth, Auth::None));
    assert!(matches!(
        auth("authorization: { credentials_file: good/token }").auth,
        Auth::Header { credentials: Secret::File(file), .. } if file.path == Path::new(DATA).join("good/token")
    ));
}

#[test]
fn limits_come_from_the_provider_then_global_then_the_default() {
    let text = "
global: { poll_interval: 1m, stuck_after: 1h }
providers:
  - { name: a, preset: mjdjourney, poll_interval: 5s, max_tasks: 1 }
  - { name: b, preset: mjdjourney }
tasks: [{ id: x, provider: a }, { id: y, provider: a }, { id: x, provider: b }]
";
    let Loaded { config, tasks } = load_with_tasks(text).unwrap();
    let limits = &config.providers[0].limits;
    assert_eq!(limits.poll_interval, Duration::from_secs(5));
    assert_eq!(limits.stuck_after, Duration::from_secs(3600));
    assert_eq!(limits.poll_timeout, Limits::default().poll_timeout);
    assert_eq!(config.providers[1].limits.poll_interval, Duration::from_secs(60));
    assert_eq!((tasks.len(), config.dropped_tasks), (2, 1));
}

#[test]
fn at_most_fifty_errors_are_reported() {
    let tasks: String = (0..60).map(|_| "  - ''\n").collect();
    let text = format!("providers: [{{ name: a, preset: mjdjourney }}]\ntasks:\n{tasks}");
    let said = load_text(&text).unwrap_err();
    assert_eq!(said.matches("a task ID must not be empty").count(), 50);
    assert!(said.ends_with("\n… and 10 more"), "{said}");
}

#[test]
fn a_million_ids_load_fast() {
    let dir = std::env::temp_dir().join(format!("million-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let ids: String =
        (0..1_000_000).map(|id| format!("42a28dda-dc7a-4186-ac86-{id:012}\n")).collect();
    fs::write(dir.join("ids.txt"), ids).unwrap();
    let text = "providers: [{ name: a, preset: mjdjourney }]\ntask_files: ['*.txt']";
    let loaded = config::load_text("c.yml", text, &dir).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(loaded.tasks.len(), 1_000_000);
}

#[test]
fn a_change_of_any_file_is_seen() {
    let dir = std::env::temp_dir().join(format!("changes-{}", std::process::id()));
    fs::create_dir_all(dir.join("..data")).unwrap();
    let main = dir.join("c.yml");
    fs::write(&main, "providers: [{ name: a, preset: mjdjourney }]\ntask_files: ['*.txt']")
        .unwrap();
    fs::write(dir.join("..data/a.txt"), "a\n").unwrap();
    std::os::unix::fs::symlink("..data/a.txt", dir.join("a.txt")).unwrap();
    let config = config::load(&main).unwrap().config;
    let names: Vec<_> = config.files.paths.iter().map(|path| path.file_name().unwrap()).collect();
    assert_eq!(names, ["c.yml", "a.txt"]);
    let unchanged = config.files.hash;
    assert_eq!(config.files.current_hash(), unchanged);
    fs::write(dir.join("..data/a.txt"), "b\n").unwrap();
    assert_ne!(config.files.current_hash(), unchanged);
    fs::write(dir.join("..data/a.txt"), "a\n").unwrap();
    assert_eq!(config.files.current_hash(), unchanged);
    fs::write(dir.join("b.txt"), "").unwrap();
    assert_ne!(config.files.current_hash(), unchanged);
    fs::remove_file(dir.join("b.txt")).unwrap();
    // Equal files have the same hash wherever they are.
    let elsewhere = dir.join("..data/elsewhere");
    std::os::unix::fs::symlink("..", &elsewhere).unwrap();
    let files = config::load(&elsewhere.join("c.yml")).unwrap().config.files;
    assert_eq!((files.hash, files.current_hash()), (unchanged, unchanged));
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn the_schema_is_fresh() {
    let path = format!("{}/config/schema.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, config::schema()).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), config::schema());
}

#[test]
fn a_list_is_a_source_with_the_name_of_its_provider() {
    use aitask_exporter::config::discovery::{Mechanism, SourceKind};
    let text = "
global: { keep_unlisted: 2h }
providers:
- { name: mj, preset: midjourney-proxy, base_url: 'http://a', list: {} }
- { name: off, preset: midjourney-proxy, base_url: 'http://a' }
- name: kling
  preset: kling
  list: { refresh_interval: 3s, limit: 7, labels: { team: video }, keep_unlisted: 0s }
  request: { list: { query: { key: hidden-key }, params: { kind: [b/c, a] } } }
file_sd_configs: [{ name: mj, files: ['*.txt'], provider: mj }]
";
    let config = load_text(text).unwrap();
    let [file, mj, kling] = &config.discovery[..] else { panic!("{:?}", config.discovery) };
    assert_eq!((file.mechanism(), mj.mechanism()), (Mechanism::File, Mechanism::List));
    assert_eq!((&*mj.name, mj.provider.as_deref(), &*mj.key()), ("mj", Some("mj"), "list/mj"));
    let seconds = Duration::from_secs;
    assert_eq!((mj.refresh_interval, mj.timeout, mj.limit), (seconds(15), seconds(10), 10_000));
    assert_eq!(mj.keep_unlisted, seconds(7200));
    assert_eq!((kling.refresh_interval, kling.timeout), (seconds(3), seconds(3)));
    assert_eq!((kling.limit, kling.keep_unlisted), (7, Duration::ZERO));
    assert_eq!(kling.labels[..], [("team".into(), "video".into())]);
    let SourceKind::List(list) = &kling.kind else { panic!("{kling:?}") };
    let targets: Vec<_> = list.queries.iter().map(|query| &*query.target).collect();
    let query = "key=hidden-key&pageNum=1&pageSize=500";
    assert_eq!(targets, [format!("/v1/videos/b/c?{query}"), format!("/v1/videos/a?{query}")]);
    assert_eq!(list.queries[0].params[..], [("kind".into(), "b/c".into())]);
    let shown: Vec<_> = list.redacted_queries.iter().map(|query| &*query.target).collect();
    assert_eq!(shown[1], "/v1/videos/a?key=%3Csecret%3E&pageNum=1&pageSize=500");
    assert!(list.is_window && list.paging.is_none());
    assert!(!format!("{config:?}").contains("hidden") && !config.shown.contains("hidden"));
    // The mapping has the list even if it is not followed.
    assert!(config.providers[1].list.is_some());
}

#[test]
fn sources_are_in_the_order_of_precedence_with_their_defaults() {
    use aitask_exporter::config::discovery::{Mechanism, SourceConfig};
    let path = format!("{DATA}/good/sources.yml");
    let config = config::load(Path::new(&path)).unwrap().config;
    let [http, file] = &config.discovery[..] else { panic!("{:?}", config.discovery) };
    let name = |source: &SourceConfig| (source.mechanism(), source.name.to_string());
    assert_eq!(name(http), (Mechanism::Http, "jobs".to_owned()));
    assert_eq!(name(file), (Mechanism::File, "jobs".to_owned()));
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let times = |source: &SourceConfig| {
        (source.refresh_interval, source.timeout, source.keep_unlisted, source.limit)
    };
    assert_eq!(times(http), (minutes(5), minutes(5), minutes(30 * 24 * 60), 1));
    let millisecond = Duration::from_millis(1);
    assert_eq!(times(file), (millisecond, millisecond, Duration::ZERO, 1_000_000));
    assert_eq!((http.provider.as_deref(), file.provider.as_deref()), (Some("b"), None));
    let one = "providers: [{ name: a, preset: mjdjourney }]\n\
               file_sd_configs: [{ name: s, files: ['*.txt'] }]";
    let config = load_text(one).unwrap();
    let [file] = &config.discovery[..] else { panic!("{:?}", config.discovery) };
    assert_eq!(file.provider.as_deref(), Some("a"));
    let day = Duration::from_secs(86_400);
    assert_eq!(times(file), (minutes(5), Duration::from_secs(10), day, 1_000_000));
}
