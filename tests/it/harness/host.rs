//! A host whose clock steps and whose names move: libfaketime and `nss_wrapper` stand between a process
//! and its libc.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Dir;

const CLOCK: &str = "clock";
const NAMES: &str = "hosts";

/// The view that a process has of its host.
pub struct Host(Dir);

impl Host {
    /// One with the true time, and no names but the machine's own.
    pub fn new() -> Self {
        let host = Self(Dir::new());
        host.set_clock(0);
        host.0.write(NAMES, "");
        host
    }

    /// Sets the clock so many hours ahead of the true time. The monotonic clock does not step, like
    /// that of a real host.
    pub fn set_clock(&self, hours: i64) {
        self.0.write(CLOCK, &format!("{:+}", hours * 3_600));
    }

    /// Gives the only name another address.
    pub fn set_name(&self, name: &str, address: &str) {
        self.0.write(NAMES, &format!("{address} {name}\n"));
    }

    /// Puts the process of a command on this host. What the library of the clock shares between processes
    /// it removes when the process ends in peace.
    pub fn run(&self, command: &mut Command) {
        // The variant that locks: all threads read the time.
        let libraries = [library("faketime/libfaketimeMT.so.1"), library("libnss_wrapper.so")];
        let libraries = libraries.map(|path| path.into_os_string().into_string().unwrap());
        command.env("LD_PRELOAD", libraries.join(":"));
        command.env("FAKETIME_TIMESTAMP_FILE", self.0.path(CLOCK)).env("FAKETIME_NO_CACHE", "1");
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
        command.env("NSS_WRAPPER_HOSTS", self.0.path(NAMES));
    }
}

/// A disk whose behaviour on `fsync` a test controls.
pub struct Disk(Dir);

impl Disk {
    /// One that `works`, `fails` or `stalls`.
    pub fn that(does: &str) -> Self {
        let disk = Self(Dir::new());
        disk.now(does);
        disk
    }

    /// Lets it do something else from now on.
    pub fn now(&self, does: &str) {
        self.0.write("mode", does);
    }

    /// Gives it to the process of a command.
    pub fn run(&self, command: &mut Command) {
        preload(command, &self.0, "disk");
        command.env("DISK_MODE", self.0.path("mode")).env("DISK_LOG", self.0.path("log"));
    }

    /// Takes from a directory what the disk does not have for good, as the loss of power does.
    pub fn lose_power(&self, dir: &Path) {
        let log = self.0.read("log");
        for file in fs::read_dir(dir).unwrap() {
            let path = file.unwrap().path();
            let has = |line: &str| {
                let (size, name) = line.split_once(' ')?;
                (Path::new(name) == path).then(|| size.parse().unwrap())
            };
            let size: Option<u64> = log.lines().filter_map(has).next_back();
            match (size, path.file_name().unwrap().to_str().unwrap()) {
                // It has its name once the disk has all of it.
                (_, "snapshot") => {}
                (Some(size), _) => {
                    let file = File::options().write(true).open(&path).unwrap();
                    file.set_len(size).unwrap();
                }
                (None, _) => fs::remove_file(&path).unwrap(),
            }
        }
    }
}

/// Name of the file that must not exist for [`hang_file`] to let a file be opened.
pub const GATE: &str = "gate";

/// Gives the process of a command a file system that does not respond when the file `name` is
/// opened, while there is a file `gate` beside it.
pub fn hang_file(command: &mut Command, dir: &Dir, name: &str) {
    preload(command, dir, "hang");
    command.env("HANGING_FILE", dir.path(name)).env("HANGING_GATE", dir.path(GATE));
}

/// Gives the process of a command name servers that resolve every name that ends in `.test` to this
/// machine. While there is a file `gate` in `dir`, names that begin with `silent` get no answer.
/// Each look-up of one of these is a line of the file `names` there.
pub fn name_servers(command: &mut Command, dir: &Dir) {
    preload(command, dir, "names");
    command.env("NAMES_GATE", dir.path(GATE)).env("NAMES_LOG", dir.path("names"));
}

/// Makes time pass `speed` times as fast for the process of a command. Unlike [`Host::set_clock`], this
/// also affects the monotonic clock and timeouts.
pub fn speed_up(command: &mut Command, speed: u32) {
    let mut libraries = library("faketime/libfaketimeMT.so.1").into_os_string();
    let preloaded = command.get_envs().find(|(name, _)| *name == "LD_PRELOAD");
    if let Some((_, Some(preloaded))) = preloaded {
        libraries.push(":");
        libraries.push(preloaded);
    }
    command.env("LD_PRELOAD", libraries);
    command.env("FAKETIME", format!("+0 x{speed}")).env("NO_FAKE_STAT", "1");
}

/// Puts a library of the tests between the process of a command and its libc. A machine that can link
/// Rust programs can make it.
fn preload(command: &mut Command, dir: &Dir, name: &str) {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/harness");
    let library = dir.path(&format!("{name}.so"));
    let source = sources.join(format!("{name}.c"));
    if !library.exists() {
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source);
        assert!(compiler.status().unwrap().success());
    }
    command.env("LD_PRELOAD", library);
}

/// Returns the path at which Debian installs a library.
fn library(name: &str) -> PathBuf {
    let folder = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let path = Path::new(&folder).join(name);
    // The loader only warns of one that is missing, and the process would run on the true host.
    assert!(path.exists(), "no {}: run `make tools`", path.display());
    path
}
