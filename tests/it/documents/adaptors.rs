//! The adaptors of docs/discovery.md write lists that the configuration there accepts: in Python, with
//! stand-ins for the libraries that they import.

use super::markdown::{Block, blocks};
use super::session::Session;

/// Stand-ins for the libraries, which end the adaptors' endless loops.
const LIBRARIES: [(&str, &str); 3] = [
    (
        "redis.py",
        "
class Redis:
    def __init__(self, decode_responses):
        assert decode_responses
        self.answers = [{'open-1', 'open-2'}, {'open-2'}]
    def smembers(self, key):
        if not self.answers:
            raise SystemExit
        return self.answers.pop(0)
",
    ),
    (
        "confluent_kafka.py",
        "
class Message:
    def __init__(self, value):
        self.bytes = value
    def error(self):
        return None if self.bytes else 'partition end'
    def value(self):
        return self.bytes
class Consumer:
    def __init__(self, settings):
        assert settings['bootstrap.servers'] and settings['group.id']
    def subscribe(self, topics):
        self.messages = [
            Message(b'{\"id\": \"open-1\", \"done\": false}'), None, Message(b''),
            Message(b'{\"id\": \"open-2\", \"done\": false}'), Message(b'{\"id\": \"open-1\", \"done\": true}'),
        ]
    def poll(self, timeout):
        if not self.messages:
            raise SystemExit
        return self.messages.pop(0)
",
    ),
    (
        "celery.py",
        "
import contextlib
class Receiver:
    def __init__(self, connection, handlers):
        self.handlers = handlers
    def capture(self):
        for kind, job in [('submitted', 'open-1'), ('submitted', 'open-2'), ('fetched', 'open-1')]:
            self.handlers[f'task-{kind}']({'type': f'task-{kind}', 'job': job})
class Celery:
    class events:
        Receiver = Receiver
    def __init__(self, broker):
        assert broker
    def connection(self):
        return contextlib.nullcontext()
",
    ),
];

/// A product that uses the adaptor for webhooks.
const PRODUCT: &str = "
submitted('open-1', 'acme')
submitted('open-2', 'acme')
webhook('open-1')
";

#[test]
fn every_adaptor_writes_a_list() {
    let is_here =
        |block: &Block| block.path == "docs/discovery.md" && block.heading != "Registration";
    let blocks: Vec<_> = blocks().into_iter().filter(is_here).collect();
    let mut session = Session::new();
    for (name, library) in LIBRARIES {
        session.dir.write(name, library);
    }
    std::fs::create_dir(session.dir.path("lists")).unwrap();
    session.dir.write("suno-token", "t0ken");
    // The loops that wait do not, and `publish` is found where the adaptor is.
    session.dir.write("sitecustomize.py", "import time\ntime.sleep = lambda seconds: None\n");
    session.set_variable("PYTHONPATH", session.dir.path("").to_str().unwrap().to_owned());
    let configuration =
        blocks.iter().rfind(|block| block.text.contains("file_sd_configs:")).unwrap();
    session.dir.write("aitask.yml", &configuration.text);
    let mut names = Vec::new();
    for block in blocks.iter().filter(|block| block.kind == "python") {
        if block.text.contains("def publish(") {
            session.dir.write("publish.py", &block.text);
            continue;
        }
        let is_webhook = block.text.contains("def webhook(");
        let program = block.text.clone() + if is_webhook { PRODUCT } else { "" };
        session.dir.write("adaptor.py", &program);
        session.run("python3 adaptor.py", "");
        let name = block.text.split("publish(\"").nth(1).unwrap().split('"').next().unwrap();
        let said = session.run("aitask_exporter discover cron", "");
        assert!(said.starts_with("file cron: 1 task, 0 elements rejected\n"), "{name}: {said}");
        assert!(said.contains(" open-2"), "{name}: {said}");
        session.run(&format!("rm lists/{name}.json"), "");
        names.push(name);
    }
    assert_eq!(names, ["jobs", "redis", "kafka", "celery"]);
}
