//! Lists behind nginx, read by the exporter and by Prometheus' own HTTP discovery at the same address:
//! both keep their lists in the same cases, and both follow in the others.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use serde_json::{Value, json};

use super::{Setup, failures};
use crate::harness::certificates::make;
use crate::harness::tools::Prometheus;
use crate::harness::upstream::{Reply, Upstream};
use crate::harness::{Dir, Exporter, Process, eventually, http, until};

/// The effect of a fault on a list.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Effect {
    /// The list before it stays, as the refresh failed for this reason.
    Keeps(&'static str),
    /// The new list is taken.
    Follows,
    /// Nothing is listed any more.
    Empties,
}
use Effect::{Empties, Follows, Keeps};

/// An endpoint of its own for each fault: its name, what nginx does there while all is well and while it
/// is not, and the effect. The root holds the lists; `CUT` and `DEAD` are addresses.
const CASES: &[(&str, &str, &str, Effect)] = &[
    ("same", "", "", Follows),
    (
        "password",
        "auth_basic jobs; auth_basic_user_file users;",
        "auth_basic jobs; auth_basic_user_file others;",
        Keeps("auth"),
    ),
    ("bad-gateway", "", "proxy_pass http://DEAD;", Keeps("http")),
    ("cut", "", "proxy_pass http://CUT;", Keeps("connect")),
    ("redirect", "", "return 302 /same/jobs;", Keeps("http")),
    ("gzip", "gzip on;", "gzip on;", Follows),
    (
        "login",
        "",
        "default_type text/html; return 200 '<html>Who are you?</html>';",
        Keeps("decode"),
    ),
    ("plain", "", "types { } default_type text/plain;", Keeps("decode")),
    ("charset", "", "charset utf-8; charset_types application/json;", Follows),
    ("empty", "", "return 200 '[]';", Empties),
    ("nothing", "", "return 200 '';", Keeps("empty")),
    ("no-content", "", "return 204;", Keeps("http")),
    ("object", "", "return 200 '{}';", Keeps("decode")),
    ("half", "", "return 200 '[{\"targets\": [\"half-2\"]},';", Keeps("decode")),
    ("forbidden", "", "return 403;", Keeps("auth")),
    ("gone", "", "return 404;", Keeps("not_found")),
    ("busy", "", "return 429;", Keeps("rate_limited")),
    ("error", "", "return 500;", Keeps("http")),
];

/// The list of an endpoint at one of three times.
fn list(name: &str, time: usize) -> Value {
    let ids = [time, time + 1].map(|number| format!("{name}-{number}"));
    json!([{ "targets": ids, "labels": { "customer": format!("customer-{time}") } }])
}

/// Tasks with a label, as the exporter or Prometheus has them.
type Tasks = BTreeSet<(String, String)>;

fn expected(name: &str, time: usize) -> Tasks {
    let list = list(name, time);
    let ids = list[0]["targets"].as_array().unwrap().iter();
    let customer = list[0]["labels"]["customer"].as_str().unwrap();
    ids.map(|id| (id.as_str().unwrap().to_owned(), customer.to_owned())).collect()
}

/// The addresses of a test: of nginx, of a server that cuts its answers, and of none.
struct Addresses {
    plain: u16,
    tls: u16,
    cut: SocketAddr,
    dead: u16,
}

impl Addresses {
    fn choose() -> Self {
        // Each is free as long as all are held.
        let ports = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [plain, tls, dead] = ports.each_ref().map(|port| port.local_addr().unwrap().port());
        let cut = Upstream::start(|_| {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n";
            Reply::Close(format!("{head}\r\n[{{\"targets\": [\"cut-7\"]}}]").into_bytes())
        });
        Self { plain, tls, cut: cut.address, dead }
    }

    /// Returns the configuration of nginx.
    fn config(&self, is_faulty: bool) -> String {
        let (cut, dead) = (self.cut.to_string(), format!("127.0.0.1:{}", self.dead));
        let mut locations = String::new();
        for (name, well, faulty, _) in CASES {
            let directives = if is_faulty { faulty } else { well };
            let directives = directives.replace("CUT", &cut).replace("DEAD", &dead);
            locations += &format!("    location = /{name}/jobs {{ {directives} }}\n");
        }
        let certificate = if is_faulty { "stranger" } else { "server" };
        // Each request has a connection of its own, so that none sees an old configuration.
        format!(
            "daemon off;\nuser root;\npid nginx.pid;\nevents {{}}\nhttp {{\n\
             log_format asked '$uri|$status|$http_user_agent|$http_if_none_match|$http_accept|\
             $http_x_prometheus_refresh_interval_seconds|$sent_http_content_encoding';\n\
             access_log asked.log asked;\nroot lists;\ndefault_type application/json;\n\
             keepalive_timeout 0;\ngzip_types application/json;\ngzip_min_length 1;\n\
             client_body_temp_path temp/body;\nproxy_temp_path temp/proxy;\n\
             fastcgi_temp_path temp/fastcgi;\nuwsgi_temp_path temp/uwsgi;\n\
             scgi_temp_path temp/scgi;\n\
             server {{\n    listen 127.0.0.1:{};\n{locations}}}\n\
             server {{\n    listen 127.0.0.1:{} ssl;\n    ssl_certificate {certificate}.pem;\n    \
             ssl_certificate_key {certificate}.key;\n}}\n}}\n",
            self.plain, self.tls
        )
    }
}

struct Nginx {
    process: Process,
    addresses: Addresses,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its children would outlive it if it were killed.
        self.process.signal("TERM");
        self.process.wait();
    }
}

impl Nginx {
    fn start() -> Self {
        let dir = Dir::new();
        fs::create_dir(dir.path("temp")).unwrap();
        for name in ["server", "stranger"] {
            make(&dir, name, &["localhost"], true, (2020, 2100));
        }
        dir.write("users", "app:{PLAIN}hunter2-of-lists\n");
        dir.write("others", "app:{PLAIN}changed\n");
        for name in names() {
            write_list(&dir, name, 0);
        }
        let addresses = Addresses::choose();
        dir.write("nginx.conf", &addresses.config(false));
        // Debian installs it where only root looks.
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(dir.path(".")).args(["-e", "stderr", "-c", "nginx.conf"]);
        let nginx = Self { process: Process::start(dir, &mut command), addresses };
        let address = ([127, 0, 0, 1], nginx.addresses.plain).into();
        until("nginx listens", || http::send(address, "GET", "/same/jobs", &[], "").is_ok());
        nginx
    }

    fn reload(&self, is_faulty: bool) {
        self.process.dir.write("nginx.conf", &self.addresses.config(is_faulty));
        self.process.signal("HUP");
    }

    fn url(&self, name: &str) -> String {
        match name {
            "tls" => format!("https://localhost:{}/tls/jobs", self.addresses.tls),
            _ => format!("http://127.0.0.1:{}/{name}/jobs", self.addresses.plain),
        }
    }

    /// Returns the requests for an endpoint by one of the two programs: status, `If-None-Match`, and so
    /// on.
    fn asked(&self, name: &str, program: &str) -> Vec<Vec<String>> {
        let log = self.process.dir.read("asked.log");
        let fields = log.lines().map(|line| line.split('|').map(str::to_owned).collect());
        let of = |fields: &Vec<String>| {
            fields[0] == format!("/{name}/jobs") && fields[2].starts_with(program)
        };
        fields.filter(of).collect()
    }
}

fn write_list(dir: &Dir, name: &str, time: usize) {
    // Lists of the same length within a second would share a tag of nginx.
    let text = format!("{}{}", list(name, time), " ".repeat(time));
    dir.write(&format!("lists/{name}/jobs"), &text);
}

fn keys(nginx: &Nginx, name: &str) -> String {
    match name {
        "password" => "basic_auth: { username: app, password: hunter2-of-lists }".to_owned(),
        "tls" => {
            let authority = nginx.process.dir.path("server.pem");
            format!("tls_config: {{ ca_file: '{}' }}", authority.display())
        }
        _ => String::new(),
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|(name, ..)| *name).chain(["tls"])
}

fn start_prometheus(nginx: &Nginx) -> Prometheus {
    let mut config = "global: { scrape_interval: 1h }\nscrape_configs:\n".to_owned();
    for name in names() {
        config += &format!(
            "- job_name: {name}\n  http_sd_configs: [{{ url: '{}', refresh_interval: 1s, \
             follow_redirects: false, {} }}]\n",
            nginx.url(name),
            keys(nginx, name)
        );
    }
    Prometheus::start(Dir::new(), &config)
}

fn start_exporter(nginx: &Nginx) -> Exporter {
    // Nobody is polled: tasks that left are still there, and are no part of a list.
    let provider = "{ name: mj, preset: mjdjourney, base_url: 'http://127.0.0.1:1' }";
    let mut setup = Setup::new("poll_interval: 1h").provider(provider.to_owned());
    for name in names() {
        let more = format!("refresh_interval: 1s, {}", keys(nginx, name));
        setup = setup.http(name, &nginx.url(name), &more);
    }
    setup.start()
}

fn of_exporter(exporter: &Exporter, name: &str) -> Tasks {
    let tasks = exporter.get("/api/v1/tasks").json()["tasks"].take();
    let source = json!([format!("http/{name}")]);
    let tasks = tasks.as_array().unwrap().iter().filter(|task| task["sources"] == source);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    tasks.map(|task| (text(&task["task_id"]), text(&task["labels"]["customer"]))).collect()
}

fn of_prometheus(prometheus: &Prometheus, name: &str) -> Tasks {
    let targets = prometheus.data("/api/v1/targets?state=active")["activeTargets"].take();
    let labels = targets.as_array().unwrap().iter().map(|target| &target["discoveredLabels"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let labels = labels.filter(|labels| labels["job"] == name);
    labels.map(|labels| (text(&labels["__address__"]), text(&labels["customer"]))).collect()
}

/// A program's tasks of an endpoint.
type Look<'a> = &'a dyn Fn(&str) -> Tasks;

/// Waits until each program has these tasks of each endpoint.
fn await_all(programs: &[(&str, Look<'_>)], expected: impl Fn(&str) -> Tasks) {
    for name in names() {
        for (program, look) in programs {
            let expected = expected(name);
            until(&format!("{program} has {expected:?} of {name}"), || look(name) == expected);
        }
    }
}

fn effect(name: &str) -> Effect {
    let case = CASES.iter().find(|(case, ..)| *case == name);
    case.map_or(Keeps("tls"), |(.., effect)| *effect)
}

#[test]
fn lists_are_kept_and_followed_as_prometheus_does() {
    let nginx = Nginx::start();
    let (exporter, prometheus) = (start_exporter(&nginx), start_prometheus(&nginx));
    let both: [(&str, Look<'_>); 2] = [
        ("the exporter", &|name| of_exporter(&exporter, name)),
        ("Prometheus", &|name| of_prometheus(&prometheus, name)),
    ];
    await_all(&both, |name| expected(name, 0));
    let samples = exporter.scrape();
    assert!(names().all(|name| failures(&samples, name, None) == 0.0));
    // An unchanged list is not sent again.
    until("the same list is asked for again", || nginx.asked("same", "aitask_exporter").len() > 2);
    let again = nginx.asked("same", "aitask_exporter").pop().unwrap();
    assert_eq!((&*again[1], &*again[4], &*again[5]), ("304", "application/json", "1"));
    assert_ne!(again[3], "-", "the tag of the list");
    assert_eq!(nginx.asked("gzip", "aitask_exporter")[0][6], "gzip");

    nginx.reload(true);
    for name in names() {
        write_list(&nginx.process.dir, name, 1);
    }
    let asked = |name: &str, program: &str| nginx.asked(name, program).len();
    let before: Vec<_> = names().map(|name| asked(name, "Prometheus")).collect();
    for (name, before) in names().zip(before) {
        if let Keeps(reason) = effect(name) {
            let count = || failures(&exporter.scrape(), name, Some(reason));
            until(&format!("{name} fails: {reason}"), || count() >= 2.0);
        }
        // It passes on what has changed after five seconds.
        until(&format!("Prometheus has asked for {name}"), || {
            name == "tls" || asked(name, "Prometheus") >= before + 8
        });
    }
    await_all(&both, |name| match effect(name) {
        Keeps(_) => expected(name, 0),
        Follows => expected(name, 1),
        Empties => Tasks::new(),
    });
    let samples = exporter.scrape();
    for name in names() {
        match effect(name) {
            Keeps(reason) => {
                let (count, all) =
                    (failures(&samples, name, Some(reason)), failures(&samples, name, None));
                assert_eq!(count, all, "{name} fails for one reason");
            }
            Follows | Empties => assert_eq!(failures(&samples, name, None), 0.0, "{name}"),
        }
    }

    nginx.reload(false);
    for name in names() {
        write_list(&nginx.process.dir, name, 2);
    }
    await_all(&both, |name| expected(name, 2));
    let page = exporter.get("/service-discovery");
    let shown = [page.text(), exporter.get("/config").text(), &exporter.process.log()].concat();
    assert!(!shown.contains("hunter2"));
    let last = eventually("a request with the new list", || {
        nginx.asked("password", "aitask_exporter").pop()
    });
    assert!(["200", "304"].contains(&&*last[1]), "{last:?}");
}
