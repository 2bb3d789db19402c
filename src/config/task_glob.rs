//! Globs of `task_files`: the files that they match now, and the state of their directories.
//!
//! The `glob` crate matches the names. It does not look for them: it has no place for names that are
//! not UTF-8, and takes a directory that is gone for one without files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

/// Maximum number of files that a glob may match. Each is read, and a directory with more files is
/// no list.
pub const MAX_FILES: usize = 10_000;
/// Maximum number of directories that a glob may search: with `**` a search may start at the root of a
/// file system.
const MAX_DIRECTORIES: usize = 100_000;

/// Names that begin with a dot are not matched by wildcards, so that the directories of a mounted
/// ConfigMap count once.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// A glob of `task_files`, below a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskGlob {
    /// The glob as the configuration writes it.
    text: String,
    base: PathBuf,
    parts: Vec<GlobPart>,
}

/// A part of a glob, between slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum GlobPart {
    /// A name.
    Name(String),
    /// A name with wildcards.
    Wildcard(Pattern),
    /// `**`: any number of directories, also none.
    Recursive,
}

/// The files that a glob matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    /// The matched files, by name, without directories.
    pub files: Vec<PathBuf>,
    /// The first directory to be searched that does not exist.
    pub missing: Option<PathBuf>,
}

impl TaskGlob {
    /// Compiles a glob; a relative one is below `dir`.
    ///
    /// # Errors
    /// A message about the glob.
    pub fn new(dir: &Path, text: &str) -> Result<Self, &'static str> {
        let base = if text.starts_with('/') { Path::new("/") } else { dir };
        let parts = text.split('/').filter(|part| !matches!(*part, "" | "."));
        let parts = parts.map(|part| match part {
            "**" => Ok(GlobPart::Recursive),
            name if !has_wildcard(name) => Ok(GlobPart::Name(name.to_owned())),
            // Also what is no pattern, such as `a**`.
            name => Pattern::new(name).map(GlobPart::Wildcard).map_err(|error| explain(error.msg)),
        });
        let mut parts = parts.collect::<Result<Vec<_>, _>>()?;
        parts.dedup_by(|a, b| matches!((a, b), (GlobPart::Recursive, GlobPart::Recursive)));
        Ok(Self { text: text.to_owned(), base: base.to_owned(), parts })
    }

    /// Returns the glob as the configuration writes it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Finds the files that it matches now. Blocks on the file system.
    ///
    /// # Errors
    /// A directory that is there cannot be read, or there are too many files or directories. The
    /// message has the name of the directory.
    pub fn find(&self) -> io::Result<Matches> {
        let mut search = GlobSearch { matches: Matches::default(), directories: 0 };
        search.look(self.base.clone(), &self.parts)?;
        let Matches { files, .. } = &mut search.matches;
        files.sort_unstable();
        // By `**` there may be two ways to a file.
        files.dedup();
        Ok(search.matches)
    }
}

/// Returns what is wrong with a pattern, given the words of the `glob` crate.
fn explain(wrong: &'static str) -> &'static str {
    match wrong {
        "invalid range pattern" => "a `[` that no `]` closes; the character itself is `[[]`",
        other => other,
    }
}

/// Reports whether a glob may match any number of files, also none.
pub fn has_wildcard(glob: &str) -> bool {
    glob.contains(['*', '?', '['])
}

struct GlobSearch {
    matches: Matches,
    directories: usize,
}

impl GlobSearch {
    /// Looks in the directory `at` for what `parts` match.
    fn look(&mut self, mut at: PathBuf, parts: &[GlobPart]) -> io::Result<()> {
        let mut parts = parts.iter();
        while let Some(part) = parts.next() {
            let rest = parts.as_slice();
            let GlobPart::Name(name) = part else { return self.list(&at, part, rest) };
            at.push(name);
            // Of all but the last one it shows further on whether it is there.
            if rest.is_empty() {
                return self.look_at(at);
            }
        }
        Ok(())
    }

    /// Takes a file that the glob names.
    fn look_at(&mut self, path: PathBuf) -> io::Result<()> {
        match fs::symlink_metadata(&path) {
            Ok(_) => self.take(path),
            Err(error) if is_gone(&error) => {
                let directory = path.parent().map_or(Path::new(""), |parent| parent);
                if !is_directory(directory)? {
                    self.matches.missing.get_or_insert_with(|| directory.to_owned());
                }
                Ok(())
            }
            Err(error) => Err(named(&path, &error)),
        }
    }

    /// Looks through the directory `at` for what `part` matches, and further for what `rest` does.
    fn list(&mut self, at: &Path, part: &GlobPart, rest: &[GlobPart]) -> io::Result<()> {
        self.directories += 1;
        if self.directories > MAX_DIRECTORIES {
            return Err(io::Error::other("more than 100000 directories"));
        }
        if matches!(part, GlobPart::Recursive) {
            self.look(at.to_owned(), rest)?;
        }
        let entries = match fs::read_dir(here(at)) {
            Ok(entries) => entries,
            Err(error) if is_gone(&error) => {
                self.matches.missing.get_or_insert_with(|| at.to_owned());
                return Ok(());
            }
            Err(error) => return Err(named(at, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| named(at, &error))?;
            let (name, path) = (entry.file_name(), at.join(entry.file_name()));
            match part {
                // A link may lead back to its own directory.
                GlobPart::Recursive if !is_hidden(&name) && entry.file_type()?.is_dir() => {
                    self.list(&path, part, rest)?;
                }
                GlobPart::Wildcard(pattern) if matches(pattern, &name) => {
                    if rest.is_empty() {
                        self.take(path)?;
                    } else if is_directory(&path)? {
                        self.look(path, rest)?;
                    }
                }
                GlobPart::Recursive | GlobPart::Wildcard(_) | GlobPart::Name(_) => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, path: PathBuf) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if self.matches.files.len() >= MAX_FILES {
            return Err(io::Error::other("more than 10000 task files"));
        }
        self.matches.files.push(path);
        Ok(())
    }
}

/// Reports whether a name matches. What of it is not UTF-8 counts as U+FFFD.
fn matches(pattern: &Pattern, name: &OsStr) -> bool {
    pattern.matches_with(&name.to_string_lossy(), OPTIONS)
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Reports whether a path leads to a directory. Fails where that cannot be known.
fn is_directory(path: &Path) -> io::Result<bool> {
    match fs::metadata(here(path)) {
        Ok(metadata) => Ok(metadata.is_dir()),
        Err(error) if is_gone(&error) => Ok(false),
        Err(error) => Err(named(path, &error)),
    }
}

/// The working directory has an empty name where it is the directory of a relative path.
fn here(path: &Path) -> &Path {
    if path == Path::new("") { Path::new(".") } else { path }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", here(path).display()))
}

/// The directories of the files that a glob matched, and the file system that each was on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directories(BTreeMap<PathBuf, u64>);

impl Directories {
    /// Notes the directories of `files`, which have just been found.
    pub fn of(files: &[PathBuf]) -> Self {
        let directories = files.iter().filter_map(|file| file.parent());
        let mut noted = BTreeMap::new();
        for directory in directories {
            if !noted.contains_key(directory)
                && let Ok(metadata) = fs::metadata(here(directory))
            {
                noted.insert(directory.to_owned(), metadata.dev());
            }
        }
        Self(noted)
    }

    /// Reports whether there were no files.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the first directory that has vanished with its files, and the reason. One that
    /// is as it was, and from which the files were taken, has not.
    pub fn vanished(&self) -> Option<(&Path, String)> {
        self.0.iter().find_map(|(directory, device)| {
            let path = here(directory);
            let read = fs::metadata(path).and_then(|metadata| {
                is_same(&metadata, *device)?;
                fs::read_dir(path).map(drop)
            });
            read.err().map(|error| (path, super::http_client::reason(&error)))
        })
    }
}

fn is_same(metadata: &Metadata, device: u64) -> io::Result<()> {
    match () {
        () if !metadata.is_dir() => Err(io::Error::other("not a directory")),
        () if metadata.dev() != device => Err(io::Error::other("on another file system")),
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory with empty files of these names, of which those that end in a slash are directories.
    fn directory(name: &str, files: &[&[u8]]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("task-glob-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        for file in files {
            let path = root.join(OsStr::from_bytes(file));
            if file.ends_with(b"/") {
                fs::create_dir_all(path).unwrap();
            } else {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
        }
        root
    }

    fn found(root: &Path, glob: &str) -> Vec<String> {
        let found = TaskGlob::new(root, glob).unwrap().find().unwrap();
        let below = found.files.iter().map(|file| file.strip_prefix(root).unwrap_or(file));
        below.map(|file| file.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn globs_match_as_a_shell_would() {
        // `任务.txt` in GBK.
        let gbk: &[u8] = b"tasks/\xc8\xce\xce\xf1.txt";
        let files: [&[u8]; 8] = [
            b"tasks/a.txt",
            b"tasks/b.yml",
            b"tasks/.hidden.txt",
            gbk,
            b"tasks/dir.txt/",
            b"tasks/\xff/c.txt",
            b"tasks/.x/c.txt",
            b"tasks/deep/er/d.txt",
        ];
        let root = directory("shell", &files);
        symlink("nowhere", root.join("tasks/dangling.txt")).unwrap();
        symlink("..", root.join("tasks/deep/loop")).unwrap();
        let own = "tasks/\u{fffd}\u{fffd}\u{fffd}\u{fffd}.txt";
        for (glob, expected) in [
            ("tasks/*.txt", &["tasks/a.txt", "tasks/dangling.txt", own][..]),
            ("./tasks//?.txt", &["tasks/a.txt"]),
            ("tasks/[ab].*", &["tasks/a.txt", "tasks/b.yml"]),
            ("tasks/*/c.txt", &["tasks/\u{fffd}/c.txt"]),
            ("*/*/*.txt", &["tasks/\u{fffd}/c.txt"]),
            ("tasks/.h*.txt", &["tasks/.hidden.txt"]),
            ("tasks/../tasks/a.txt", &["tasks/../tasks/a.txt"]),
            ("**/d.txt", &["tasks/deep/er/d.txt"]),
            ("tasks/**/**/*.yml", &["tasks/b.yml"]),
            ("tasks/none*.txt", &[]),
            ("tasks/none.txt", &[]),
            ("tasks/a.txt/*.txt", &[]),
            ("none/*/a.txt", &[]),
        ] {
            let mut found = found(&root, glob);
            found.sort();
            assert_eq!(found, expected, "{glob}");
        }
        for glob in ["a**.txt", "[a.txt", "***/a.txt"] {
            assert!(TaskGlob::new(&root, glob).is_err(), "{glob}");
        }
        let absolute = format!("{}/tasks/?.txt", root.display());
        assert_eq!(found(Path::new("elsewhere"), &absolute).len(), 1);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let root = directory("missing", &[b"file", b"empty/"]);
        symlink("nowhere", root.join("dangling")).unwrap();
        for (glob, missing) in [
            ("none/*.txt", Some("none")),
            ("none/deep/a.txt", Some("none/deep")),
            ("file/*.txt", Some("file")),
            ("dangling/*/a.txt", Some("dangling")),
            ("empty/*.txt", None),
            ("*/*.txt", None),
        ] {
            let found = TaskGlob::new(&root, glob).unwrap().find().unwrap();
            assert_eq!(found.missing, missing.map(|name| root.join(name)), "{glob}");
            assert!(found.files.is_empty(), "{glob}");
        }
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn directories_vanish_and_come_back() {
        let root = directory("vanish", &[b"a/1.txt", b"b/2.txt"]);
        let noted = Directories::of(&[root.join("a/1.txt"), root.join("b/2.txt")]);
        assert_eq!(noted.vanished(), None);
        fs::remove_file(root.join("a/1.txt")).unwrap();
        assert_eq!(noted.vanished(), None, "it is only empty");
        fs::rename(root.join("b"), root.join("c")).unwrap();
        let (directory, why) = noted.vanished().unwrap();
        assert_eq!((directory, &*why), (&*root.join("b"), "No such file or directory"));
        fs::write(root.join("b"), "").unwrap();
        assert_eq!(noted.vanished().unwrap().1, "not a directory");
        fs::remove_file(root.join("b")).unwrap();
        symlink("c", root.join("b")).unwrap();
        assert_eq!(noted.vanished(), None);
        // What a volume that was unmounted leaves behind.
        let elsewhere = Directories(noted.0.keys().map(|key| (key.clone(), u64::MAX)).collect());
        assert_eq!(elsewhere.vanished().unwrap().1, "on another file system");
        fs::remove_dir_all(root).unwrap();
    }
}
