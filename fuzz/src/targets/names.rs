//! The first line is the glob of `task_files`, each further one the name of a file. Whatever the
//! names are, the configuration is loaded or rejected, and no file has changed afterwards.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use aitask_exporter::config::{self, Loaded};
use aitask_exporter::printable::is_printable;

/// Maximum number of files that one run leaves on the disk while it runs.
const MOST_FILES: usize = 8;
const MOST_FOLDERS: usize = 3;
/// Maximum length of a line, in bytes: no system has longer names.
const MOST_BYTES: usize = 1_024;

pub fn run(data: &[u8]) {
    let mut lines =
        data.split(|byte| *byte == b'\n').map(|line| &line[..line.len().min(MOST_BYTES)]);
    let glob = String::from_utf8_lossy(lines.next().unwrap_or_default());
    // Files outside of the directory must not be read.
    if glob.starts_with('/') || glob.contains("..") {
        return;
    }
    let folder = Folder::new();
    let mut files = 0;
    for name in lines.take(MOST_FILES) {
        files += usize::from(folder.add(name, files).is_some());
    }
    let config = format!(
        "providers: [{{ name: p, preset: mjdjourney, base_url: 'http://127.0.0.1:1' }}]\n\
         task_files: [{}]\n",
        serde_json::Value::from(&*glob),
    );
    let main = folder.0.join("main.yml");
    fs::write(&main, config).unwrap();
    match config::load(&main) {
        Ok(Loaded { config, tasks }) => {
            assert!(tasks.len() <= files, "{} tasks of {files} files", tasks.len());
            let files = &config.files;
            assert!(files.paths.iter().all(|file| file.starts_with(&folder.0)), "{files:?}");
            assert_eq!(files.current_hash(), files.hash, "{files:?}");
        }
        Err(told) => {
            for diagnostic in told.shown() {
                assert!(diagnostic.message.chars().all(is_printable), "{diagnostic:?}");
            }
        }
    }
}

/// A directory that one run at a time uses.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("names-{}-{:?}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Creates a file with one task, if the name is valid within the directory.
    fn add(&self, name: &[u8], number: usize) -> Option<()> {
        let name = Path::new(OsStr::from_bytes(name));
        let is_inside = name.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_inside || name.components().count() > MOST_FOLDERS {
            return None;
        }
        let path = self.0.join(name);
        fs::create_dir_all(path.parent()?).ok()?;
        let is_text = name.as_os_str().as_bytes().ends_with(b".txt");
        let list = if is_text { format!("id-{number}\n") } else { format!("- id-{number}\n") };
        fs::write(path, list).ok()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
