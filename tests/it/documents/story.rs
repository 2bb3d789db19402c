//! The READMEs, word for word: what a new user types and writes, in its order, in one directory.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::EXCLUDED;
use super::markdown::{Block, blocks_of, read};
use super::session::{Session, commands};
use crate::harness::postgres::Postgres;
use crate::harness::samples::Samples;
use crate::harness::upstream::{Reply, Upstream, json};
use crate::harness::{Gateway, until};

/// A configuration with an error, and what the READMEs show of it.
const WITHOUT_UNIT: &str = "\
providers:
  - name: mjdjourney
    preset: mjdjourney
    poll_interval: 15
";

/// The jobs in the database: two that belong on the list, and one that does not.
const JOBS: &str = "
INSERT INTO jobs VALUES
  ('1746082375000123', 'midjourney', 'acme', NULL),
  ('just-ended', 'suno', 'globex', now() - interval '1 minute'),
  ('long-ended', 'suno', 'globex', now() - interval '1 hour')";

/// Whatever is there while a reader goes through a README.
struct Story {
    session: Session,
    gateway: Gateway,
    /// The application that lists its jobs, and what it lists.
    application: Upstream,
    jobs: Arc<Mutex<String>>,
    database: Postgres,
    /// The part of the configuration that stays: the providers.
    providers: String,
    seen: Vec<&'static str>,
}

impl Story {
    fn begin() -> Self {
        let jobs = Arc::new(Mutex::new("[]".to_owned()));
        let listed = Arc::clone(&jobs);
        let database = Postgres::start();
        database.execute(
            "CREATE TABLE jobs (task_id text, provider text, customer text, finished_at timestamptz)",
        );
        let mut session = Session::new();
        for (name, value) in database.variables() {
            session.set_variable(name, value);
        }
        Self {
            session,
            gateway: Gateway::start(),
            application: Upstream::start(move |_| Reply::Keep(json(&listed.lock()))),
            jobs,
            database,
            providers: String::new(),
            seen: Vec::new(),
        }
    }

    fn follow(&mut self, block: &Block) {
        let text = &*block.text;
        let what = match &*block.kind {
            "sh" => {
                for command in commands(text) {
                    self.type_in(&command);
                }
                "commands"
            }
            "text" if text.starts_with("aitask_") => self.compare_series(text),
            "text" if text.starts_with("aitask.yml:") => compare_error(text),
            "yaml" if text.contains("list: {}") => self.ask_for_list(text),
            "yaml" if text.starts_with("providers:\n") => self.write_configuration(text),
            "yaml" if text.starts_with("http_sd_configs:\n") => self.add_source(text),
            "yaml" if text.starts_with("file_sd_configs:\n") => self.add_source(text),
            "json" => self.list_jobs(text),
            "crontab" => self.save_cron_job(text),
            "sql" => self.run_cron_job(text),
            // With the queries and configurations of all documents.
            "promql" => "query",
            "yaml" if text.starts_with("scrape_configs:\n") => "Prometheus",
            _ => panic!("{}: a reader cannot know where this belongs\n{text}", block.place()),
        };
        self.seen.push(what);
    }

    fn type_in(&mut self, command: &str) {
        if EXCLUDED.iter().any(|(excluded, _)| *excluded == command) {
            return;
        }
        let said = self.session.run(command, "t0ken\n");
        match command {
            "aitask_exporter --config.check" => {
                assert_eq!(said, "aitask.yml is valid: providers 2, tasks 2, sources 0\n");
            }
            "aitask_exporter" => self.both_tasks_are_polled(),
            "aitask_exporter discover" => {
                let both =
                    ["http orders: 1 task, 0 ", "file cron: 2 tasks, 0 ", "2 distinct tasks"];
                assert!(both.iter().all(|expected| said.contains(expected)), "{said}");
            }
            command if command.starts_with("curl -X PUT ") => {
                let (_, task) = command.split_once("/api/v1/tasks/suno/").unwrap();
                let series = format!("task_id=\"{}\"", task.split(' ').next().unwrap());
                assert!(self.scrape().contains(&series), "{command}");
            }
            command if command.starts_with("aitask_exporter poll ") => {
                assert!(said.contains("\n  state: queued\n"), "{said}");
            }
            command if command.contains("cat > ") => {
                let name = command.split("cat > ").nth(1).unwrap().trim_end_matches(')');
                let mode = self.session.dir.path(name).metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{command}");
            }
            _ => {}
        }
    }

    fn scrape(&mut self) -> String {
        self.session.run("curl -s localhost:10054/metrics", "")
    }

    fn both_tasks_are_polled(&mut self) {
        until("the tasks of both providers have an answer, and a customer", || {
            let samples = Samples::parse(&self.scrape());
            [("midjourney", "acme"), ("suno", "globex")].iter().all(|(provider, customer)| {
                let labels = [("provider", *provider), ("customer", *customer)];
                samples.value("aitask_up", &labels) == Some(1.0)
            })
        });
    }

    /// The demo says every line of the excerpt, but for how old a task is.
    fn compare_series(&mut self, excerpt: &str) -> &'static str {
        let mask = |line: &str| match line.rsplit_once(' ') {
            Some((series, _)) if series.starts_with("aitask_queue_age_seconds") => {
                series.to_owned()
            }
            _ => line.to_owned(),
        };
        let mut missing = String::new();
        until("the demo shows the excerpt", || {
            let scraped = self.scrape();
            let lines: Vec<_> = scraped.lines().map(mask).collect();
            let is_missing = |line: &String| !lines.contains(line);
            missing = excerpt.lines().map(mask).filter(is_missing).collect::<Vec<_>>().join("\n");
            missing.is_empty()
        });
        "series"
    }

    /// Writes the configuration, with the gateway of the test in place of the reader's.
    fn write_configuration(&mut self, text: &str) -> &'static str {
        let mut text = text.to_owned();
        for (theirs, preset) in [
            ("http://localhost:8080", "midjourney-proxy"),
            ("https://new-api.example.com", "new-api-task"),
        ] {
            assert!(text.contains(theirs), "{theirs}\n{text}");
            text = text.replace(theirs, &format!("http://{}/{preset}", self.gateway.address));
        }
        self.session.dir.write("aitask.yml", &text);
        text.split_once("tasks:\n").unwrap().0.clone_into(&mut self.providers);
        "configuration"
    }

    /// Writes a configuration without IDs, and sees that the tasks of the gateway would be followed.
    fn ask_for_list(&mut self, text: &str) -> &'static str {
        let url = format!("http://{}/midjourney-proxy", self.gateway.address);
        self.session.dir.write("aitask.yml", &text.replace("http://localhost:8080", &url));
        self.gateway.put("submitted", &serde_json::json!({ "steps": [{ "status": "queued" }] }));
        let said = self.session.run("aitask_exporter discover", "");
        let expected = "list midjourney: 1 task, 0 elements rejected\n  midjourney submitted\n";
        assert_eq!(said, expected);
        "gateway's list"
    }

    /// Writes the part of the configuration in place of the tasks, after the parts before it.
    fn add_source(&mut self, text: &str) -> &'static str {
        let list = format!("http://{}/open-jobs", self.application.address);
        self.providers += &text.replace("https://shop.example/internal/open-jobs", &list);
        assert!(!self.providers.contains("shop.example"));
        self.session.dir.write("aitask.yml", &self.providers);
        self.session.run("aitask_exporter --config.check", "");
        "source"
    }

    fn list_jobs(&mut self, list: &str) -> &'static str {
        list.clone_into(&mut self.jobs.lock());
        let said = self.session.run("aitask_exporter discover orders", "");
        let expected = "http orders: 1 task, 0 elements rejected\n  \
                        midjourney 1746082375000123 labels{customer=\"acme\"}\n";
        assert!(said.starts_with(expected), "{said}");
        "list"
    }

    /// Keeps the command of a line of a crontab, in the directory of the session.
    fn save_cron_job(&mut self, line: &str) -> &'static str {
        let lists = self.session.dir.path("lists");
        std::fs::create_dir(&lists).unwrap();
        let command = line.strip_prefix("* * * * * ").unwrap().trim_end();
        assert!(command.starts_with("cd /etc/aitask/lists && "), "{command}");
        let command = command.replace("/etc/aitask/lists", lists.to_str().unwrap());
        self.session.install("cron-job", &format!("#!/bin/sh\n{command}\n"));
        "cron"
    }

    fn run_cron_job(&mut self, sql: &str) -> &'static str {
        self.session.dir.write("lists/open-jobs.sql", sql);
        for (statements, listed) in [("", "0 tasks"), (JOBS, "2 tasks")] {
            self.database.execute(statements);
            self.session.run("cron-job", "");
            let said = self.session.run("aitask_exporter discover cron", "");
            assert!(said.starts_with(&format!("file cron: {listed}, 0 elements")), "{said}");
        }
        "database"
    }
}

fn compare_error(excerpt: &str) -> &'static str {
    let mut session = Session::new();
    session.dir.write("aitask.yml", WITHOUT_UNIT);
    let check = "aitask_exporter --config.check 2>&1 || [ $? = 2 ]";
    assert_eq!(session.run(check, ""), excerpt);
    "error"
}

fn follow(readme: &str) {
    let mut story = Story::begin();
    for block in blocks_of(readme, &read(readme)) {
        story.follow(&block);
    }
    for what in [
        "commands",
        "series",
        "configuration",
        "gateway's list",
        "source",
        "list",
        "cron",
        "database",
    ] {
        assert!(story.seen.contains(&what), "{readme} has no {what}: {:?}", story.seen);
    }
}

#[test]
fn the_readme_can_be_followed_word_for_word() {
    follow("README.md");
}

#[test]
fn the_chinese_readme_can_be_followed_word_for_word() {
    follow("README.zh-CN.md");
}
