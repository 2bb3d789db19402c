//! The harness of the tests: the exporter as a process, the simulated gateway, and waiting.

pub mod browser;
pub mod certificates;
pub mod database;
pub mod host;
pub mod http;
pub mod mariadb;
pub mod pgbouncer;
pub mod postgres;
pub mod raw;
pub mod samples;
pub mod tools;
pub mod upstream;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aitask_simulator::{self as simulator, Options, Simulator};
use serde_json::Value;
use tokio::sync::oneshot;

use host::{Disk, Host};
use http::Reply;
use samples::Samples;

/// Maximum time for anything that should happen at once: long enough for a busy machine, and used
/// up only by a test that fails.
pub const READ_TIMEOUT: Duration = Duration::from_secs(40);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_aitask_exporter");

/// A path from the root of the project.
pub fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Reads a YAML file of the project.
pub fn read_yaml(path: &str) -> Value {
    serde_yaml::from_str(&fs::read_to_string(root(path)).unwrap()).unwrap()
}

/// Returns the texts of a list; none if there is no list.
pub fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|value| value.as_str().unwrap()).collect()
}

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Lowers the priority of this thread, on which a test computes for long, so that it does not delay
/// tests that measure time.
pub fn compute_in_background() {
    // Linux has a priority for each thread, and allows every process to lower its own.
    let _ = rustix::process::setpriority_process(None, 10);
}

/// Looks again and again until there is something to see.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < READ_TIMEOUT, "not within {READ_TIMEOUT:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Looks again and again until it is so.
pub fn until(what: &str, mut look: impl FnMut() -> bool) {
    eventually(what, || look().then_some(()));
}

/// A fresh directory, kept for inspection when the test fails.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("it-{}-{number}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// One that holds a configuration as `aitask.yml`.
    pub fn with(config: &str) -> Self {
        let dir = Self::new();
        dir.write("aitask.yml", config);
        dir
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Replaced as a whole, as careful people do: a reader never sees half of it.
        let draft = path.with_extension("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(&draft, &path).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// A process that does not outlive its test. What it logs goes to the file `log`.
pub struct Process {
    child: Child,
    pub dir: Dir,
}

impl Process {
    pub fn start(dir: Dir, command: &mut Command) -> Self {
        let log = File::create(dir.path("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self { child: tools::present(command, Command::spawn), dir }
    }

    pub fn log(&self) -> String {
        self.dir.read("log")
    }

    /// The addresses in the log, once there are `count` of them.
    pub fn addresses(&mut self, count: usize) -> Vec<SocketAddr> {
        eventually("the process listens", || {
            let log = self.log();
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended with {}: {log}", ended.unwrap());
            let lines = log.lines().filter(|line| line.contains("\"Listening on\""));
            // As logfmt and as JSON write it.
            let addresses = lines.filter_map(|line| {
                let behind = line.split("address").nth(1)?.trim_start_matches(['"', '=', ':']);
                behind.split('"').next()?.parse().ok()
            });
            let addresses: Vec<_> = addresses.collect();
            (addresses.len() >= count).then_some(addresses)
        })
    }

    /// Returns the value of `key` in the kernel's status of the process.
    pub fn status(&self, key: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let mut pairs = status.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(name, _)| *name == key).unwrap().1.trim().to_owned()
    }

    /// Sends the signal `name`, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Reports whether the process handles the signal with this number.
    pub fn catches_signal(&self, number: u32) -> bool {
        u64::from_str_radix(&self.status("SigCgt"), 16).unwrap() >> (number - 1) & 1 == 1
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the process ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log in {}\n{}", self.dir.0.display(), self.log());
        }
    }
}

/// A running exporter.
pub struct Exporter {
    pub process: Process,
    pub address: SocketAddr,
}

impl Exporter {
    /// With a configuration and nothing else.
    pub fn start(config: &str) -> Self {
        Self::start_in(Dir::with(config), &[])
    }

    /// In a directory that holds `aitask.yml`.
    pub fn start_in(dir: Dir, flags: &[&str]) -> Self {
        Self::listening(Self::begin(dir, flags))
    }

    /// The same without waiting for anything.
    pub fn begin(dir: Dir, flags: &[&str]) -> Process {
        Self::run(&mut Command::new(PROGRAM), dir, flags)
    }

    /// On a host that may change.
    pub fn start_on(host: &Host, config: &str) -> Self {
        Self::start_in_on(host, Dir::with(config), &[])
    }

    /// The same in a directory that holds `aitask.yml`.
    pub fn start_in_on(host: &Host, dir: Dir, flags: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        host.run(&mut command);
        Self::listening(Self::run(&mut command, dir, flags))
    }

    /// In an environment with these variables.
    pub fn start_among<V: AsRef<OsStr>>(dir: Dir, variables: &[(&str, V)]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        Self::listening(Self::run(&mut command, dir, &[]))
    }

    /// With another disk.
    pub fn start_with_disk(disk: &Disk, dir: Dir, flags: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        disk.run(&mut command);
        Self::listening(Self::run(&mut command, dir, flags))
    }

    /// Starts an exporter for which `file` cannot be opened while a file called [`host::GATE`]
    /// exists. Does not wait until it listens.
    pub fn begin_hanging(dir: Dir, file: &str, flags: &[&str]) -> Process {
        let mut command = Command::new(PROGRAM);
        host::hang_file(&mut command, &dir, file);
        Self::run(&mut command, dir, flags)
    }

    /// Starts an exporter like [`Self::begin_hanging`], for which time passes `speed` times as fast.
    pub fn begin_hanging_fast(dir: Dir, file: &str, speed: u32) -> Process {
        let mut command = Command::new(PROGRAM);
        host::hang_file(&mut command, &dir, file);
        host::speed_up(&mut command, speed);
        Self::run(&mut command, dir, &[])
    }

    /// Starts an exporter for which time passes `speed` times as fast.
    pub fn start_fast_in(dir: Dir, flags: &[&str], speed: u32) -> Self {
        let mut command = Command::new(PROGRAM);
        host::speed_up(&mut command, speed);
        Self::listening(Self::run(&mut command, dir, flags))
    }

    /// With name servers of which some are silent as long as there is a file `gate` in `dir`.
    pub fn start_among_names(dir: Dir) -> Self {
        let mut command = Command::new(PROGRAM);
        host::name_servers(&mut command, &dir);
        Self::listening(Self::run(&mut command, dir, &[]))
    }

    /// Once it listens.
    pub fn listening(mut process: Process) -> Self {
        let address = process.addresses(1)[0];
        Self { process, address }
    }

    fn run(command: &mut Command, dir: Dir, flags: &[&str]) -> Process {
        command.arg("--config.file").arg(dir.path("aitask.yml"));
        command.arg("--web.listen-address=127.0.0.1:0").args(flags);
        Process::start(dir, command)
    }

    /// Starts an exporter with a list of so many IDs of `length` characters, which polls nothing
    /// for a long time.
    pub fn start_idle(ids: usize, length: usize, flags: &[&str]) -> Self {
        let dir = Dir::with(
            "global: { poll_interval: 1y }\ntask_files: [tasks.txt]\n\
             providers: [{ name: mj, preset: mjdjourney, base_url: 'http://127.0.0.1:1' }]\n",
        );
        dir.write("tasks.txt", &(0..ids).map(|n| format!("{n:0>length$}\n")).collect::<String>());
        Self::start_in(dir, flags)
    }

    pub fn get(&self, target: &str) -> Reply {
        http::get(self.address, target)
    }

    pub fn scrape(&self) -> Samples {
        let reply = self.get("/metrics");
        assert_eq!(reply.status, 200);
        Samples::parse(reply.text())
    }

    /// Replaces the configuration and requests a reload.
    pub fn reload(&self, config: &str) -> Reply {
        self.process.dir.write("aitask.yml", config);
        http::send(self.address, "POST", "/-/reload", &[], "").unwrap()
    }

    /// Waits until a sample of `name` with these labels has the value.
    pub fn await_value(&self, name: &str, labels: &[(&str, &str)], value: f64) -> Samples {
        eventually(&format!("{name}{labels:?} {value}"), || {
            let samples = self.scrape();
            (samples.value(name, labels) == Some(value)).then_some(samples)
        })
    }

    /// Waits until a task is in a state.
    pub fn await_state(&self, id: &str, state: &str) -> Samples {
        self.await_value("aitask_status", &[("task_id", id), ("state", state)], 1.0)
    }
}

/// Runs the program to its end.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    Command::new(PROGRAM).args(args).stdin(Stdio::null()).output().unwrap()
}

/// The ID of the exporter that reads this configuration, where it is another program's child.
pub fn pid_of(config: &Path) -> String {
    let mut found = None;
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let mut arguments = line.split(|byte| *byte == 0);
        if arguments.next() == Some(PROGRAM.as_bytes())
            && arguments.any(|argument| argument == config.as_os_str().as_encoded_bytes())
        {
            found = Some(process.file_name().into_string().unwrap());
        }
    }
    found.unwrap()
}

/// A simulated gateway on a thread of this process.
pub struct Gateway {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Gateway {
    /// One that takes any credentials.
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        Self::at("127.0.0.1:0", options)
    }

    /// One at an address of this machine.
    pub fn at(address: impl ToSocketAddrs, options: Options) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let stopped = async { drop(stopped.await) };
                simulator::serve(listener, Simulator::new(options), stopped).await.unwrap();
            });
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// A provider for the list `providers`, with further keys in YAML's flow style.
    pub fn provider(&self, name: &str, more: &str) -> String {
        let url = format!("http://{}", self.address);
        format!("{{ name: {name}, preset: mjdjourney, base_url: \"{url}\", {more} }}")
    }

    /// Scripts a task; the README of the simulator is at its `/`.
    pub fn put(&self, id: &str, script: &Value) {
        let target = format!("/simulator/tasks/{}", http::encode(id));
        let reply = http::send(self.address, "PUT", &target, &[], &script.to_string()).unwrap();
        assert_eq!(reply.status, 204, "{}", reply.text());
    }

    /// Returns the statistics of a task's requests.
    pub fn asked(&self, id: &str) -> Value {
        http::get(self.address, &format!("/simulator/tasks/{}", http::encode(id))).json()
    }

    /// Returns the number of requests for a task.
    pub fn requests(&self, id: &str) -> u64 {
        self.asked(id)["requests"].as_u64().unwrap()
    }

    /// Returns the times of the last hundred requests for a task, in milliseconds.
    pub fn request_times(&self, id: &str) -> Vec<i64> {
        let times = self.asked(id)["request_times_ms"].clone();
        serde_json::from_value(times).unwrap()
    }

    /// Returns the statistics of all requests.
    pub fn stats(&self) -> Value {
        http::get(self.address, "/simulator/stats").json()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
