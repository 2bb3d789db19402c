//! Task files: the files that globs match, the tasks in them, and the detection of changes.

use super::Loader;
use crate::bounded_file;
use crate::config::http_client::{is_unexpanded, reason, unexpanded};
use crate::config::privacy::{self, Shape};
use crate::config::read_yaml::expand_merge_keys;
use crate::config::task_glob::{Directories, MAX_FILES, Matches, TaskGlob, has_wildcard};
use crate::config::tasks::TaskCollector;
use crate::config::tls::MAX_PEM_BYTES;
use crate::config::{notes, raw};
use crate::task;
use crate::yaml::decode;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::hidden::MAX_HIDDEN;
use crate::yaml::source::SourceFormat;
use crate::yaml::span::{Either, Location, Spanned};
use crate::yaml::tree::{self, LongList, MAX_YAML_BYTES, NodeKind, YamlNode};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

impl Loader<'_> {
    /// Adds the tasks of the files that an item of `task_files` names.
    pub fn task_files(
        &mut self,
        files: &Spanned<Either<String, raw::RawTaskFiles>>,
        tasks: &mut TaskCollector<'_>,
    ) {
        let (location, glob, provider) = match files.located() {
            Some((location, Either::Short(glob))) => (location, glob, None),
            Some((location, Either::Long(long))) => {
                if long.files.is_absent() {
                    self.report(Diagnostic::new(location, "missing key: files"));
                }
                let provider = match long.provider.located() {
                    Some((at, name)) => match tasks.find_provider(at, &name.0) {
                        Some(provider) => Some(provider),
                        None => return,
                    },
                    None => None,
                };
                let Some((location, glob)) = long.files.located() else { return };
                (location, glob, provider)
            }
            None => return,
        };
        for path in self.expand(location, glob) {
            self.task_file(location, path, provider, tasks);
        }
    }

    /// Returns the files that a glob matches, by name.
    fn expand(&mut self, location: Location, glob: &str) -> Vec<PathBuf> {
        if !has_extension(glob, LISTS) {
            let diagnostic = Diagnostic::new(
                location,
                "the name of a task file must end in .yml, .yaml or .txt",
            );
            self.report(diagnostic.quote(glob));
            return Vec::new();
        }
        let cannot = |why: String| Diagnostic::new(location, "cannot find files").detail(why);
        let glob = match TaskGlob::new(self.dir, glob) {
            Ok(glob) => glob,
            Err(wrong) => {
                self.report(cannot(wrong.to_owned()));
                return Vec::new();
            }
        };
        let matches = match glob.find() {
            Ok(matches) => matches,
            Err(error) => {
                self.report(cannot(reason(&error)));
                return Vec::new();
            }
        };
        if let Some(diagnostic) = self.unmatched(location, &glob, &matches) {
            self.report(diagnostic);
        }
        self.globs.push(ExpandedGlob::new(glob, &matches));
        if self.files.len() + matches.files.len() > MAX_FILES {
            self.report(Diagnostic::new(location, "more than 10000 task files"));
            return Vec::new();
        }
        matches.files
    }

    /// Returns the diagnostic for a glob that matches no file, if that is an error.
    fn unmatched(
        &self,
        location: Location,
        glob: &TaskGlob,
        matches: &Matches,
    ) -> Option<Diagnostic> {
        let text = glob.text();
        if !matches.files.is_empty() {
            None
        } else if !has_wildcard(text) {
            Some(unexpanded(Diagnostic::new(location, "no such file").quote(text), text))
        } else if is_unexpanded(text) {
            Some(unexpanded(Diagnostic::new(location, "no file matches").quote(text), text))
        } else {
            // Files that were deleted leave their directory; what took it away may bring it back.
            let Some((directory, why)) = self.before.vanished(glob) else {
                notes::note_unmatched_glob(&self.notes, location, text, matches.missing.as_deref());
                return None;
            };
            let what = format!("{text:?}: {}: {why}", directory.display());
            let diagnostic = Diagnostic::new(location, "no file matches any more").detail(what);
            Some(
                diagnostic
                    .hint("to remove the tasks from the list, keep the directory and empty it"),
            )
        }
    }

    fn task_file(
        &mut self,
        named: Location,
        path: PathBuf,
        provider: Option<usize>,
        tasks: &mut TaskCollector<'_>,
    ) {
        // Two globs may match one file; for another provider it is another list.
        if !self.lists.insert((path.clone(), provider)) {
            return;
        }
        let name = path.display().to_string();
        if fs::canonicalize(&path).is_ok_and(|path| self.secret_files.contains(&path)) {
            let diagnostic =
                Diagnostic::new(named, "a secret file cannot be a task file").detail(name);
            return self
                .report(diagnostic.hint("its text would become a task ID, which is not secret"));
        }
        let lines = is_text_list(&path);
        let format = if lines { SourceFormat::Lines } else { SourceFormat::Yaml };
        let limit = list_limit(&path);
        let content = match bounded_file::read(&path, limit.min(self.left)) {
            Ok(content) => content,
            Err(error) => {
                let is_small = fs::metadata(&path).is_ok_and(|metadata| {
                    usize::try_from(metadata.len()).is_ok_and(|length| length <= limit)
                });
                let message = match error.kind() {
                    ErrorKind::FileTooLarge if is_small => {
                        "the task files together are larger than 512 MiB".to_owned()
                    }
                    _ => format!("cannot read a task file: {}", reason(&error)),
                };
                return self.report(Diagnostic::new(named, message).detail(name));
            }
        };
        self.left -= content.len();
        self.hasher.add(&path, &content);
        self.files.push(path);
        let Some(number) = self.source(name, content, format) else { return };
        if lines {
            let source = usize::try_from(number).ok().and_then(|number| self.sources.get(number));
            tasks.add_lines(source.map_or("", |source| &source.text), number, provider);
        } else if let Some(root) = self.outline(number, LongList::Root) {
            if matches!(root.kind, NodeKind::List(_)) {
                self.task_items(number, LongList::Root, tasks, provider, &mut |_| {});
            } else {
                let _: Spanned<raw::RawTasks> = decode::decode(&root, &self.sink);
                self.hide::<raw::RawTasks>(&root);
            }
        }
    }

    /// Adds the tasks of a long list, one after another: there may be a million. Each that has no
    /// error is passed to `see`.
    pub fn task_items(
        &mut self,
        number: u32,
        list: LongList,
        tasks: &mut TaskCollector<'_>,
        provider: Option<usize>,
        see: &mut dyn FnMut(&YamlNode),
    ) {
        let Some(index) = usize::try_from(number).ok() else { return };
        let Some(source) = self.sources.get_mut(index) else { return };
        let (text, sink, mut hidden) = (std::mem::take(&mut source.text), &self.sink, Vec::new());
        let shape = Shape::of::<raw::RawTasks>();
        tree::for_each_item(&text, number, list, &mut |mut item| {
            let before = sink.len() + tasks.diagnostics();
            expand_merge_keys(&mut item, &mut |diagnostic| sink.push(diagnostic));
            tasks.add(&decode::decode(&item, sink), provider);
            if sink.len() + tasks.diagnostics() == before {
                see(&item);
            } else if hidden.len() <= MAX_HIDDEN {
                // A task without errors has nothing to hide.
                hidden.extend(privacy::hidden_in_item(&item, &shape));
            }
        });
        if let Some(source) = self.sources.get_mut(index) {
            source.text = text;
            source.hidden.append(&mut hidden);
        }
    }
}

/// The extensions of task files.
const LISTS: &[&str] = &[".yml", ".yaml", ".txt"];

fn has_extension(name: &str, extensions: &[&str]) -> bool {
    extensions.iter().any(|extension| name.ends_with(extension))
}

/// Maximum size of a list of IDs, and of all task files together, in bytes: fourteen million UUIDs.
/// All are in memory until the last one is read.
pub const MAX_LIST_BYTES: usize = 512 << 20;

/// The files that a configuration was read from. Secret files are not among them: they are read
/// whenever they are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFiles {
    /// The main file, then the task files in the order in which they were read.
    pub paths: Vec<PathBuf>,
    /// The certificates and keys of `tls_config`.
    pem_files: Vec<PathBuf>,
    /// The hash of names and contents, which changes when a glob matches other files, too.
    pub hash: u64,
    globs: Vec<ExpandedGlob>,
}

/// A glob, and what it matched when the configuration was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpandedGlob {
    glob: TaskGlob,
    missing: Option<PathBuf>,
    directories: Directories,
}

impl ExpandedGlob {
    /// Records the matches of a glob.
    pub fn new(glob: TaskGlob, matches: &Matches) -> Self {
        let directories = Directories::of(&matches.files);
        Self { glob, missing: matches.missing.clone(), directories }
    }
}

/// The hash of files, each with its name. Names are relative to the directory of the main file, so
/// that equal files have the same hash wherever they are.
pub struct FileHasher {
    base: PathBuf,
    hashes: BTreeMap<PathBuf, u64>,
}

/// The content that is hashed for a file that must not be read.
const UNREAD: &[u8] = b"cannot be read";

impl FileHasher {
    /// Returns the hasher of no files, for a main file in the directory `base`.
    pub fn new(base: &Path) -> Self {
        Self { base: base.to_owned(), hashes: BTreeMap::new() }
    }

    /// Returns the name of a file relative to the directory of the main file, if it is below that.
    fn relative<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.base).unwrap_or(path)
    }

    fn insert(&mut self, path: &Path, hash: u64) {
        self.hashes.insert(self.relative(path).to_owned(), hash);
    }

    /// Adds a file that was read.
    pub fn add(&mut self, path: &Path, content: &[u8]) {
        self.insert(path, task::stable_hash([content]));
    }

    /// Adds a file as it is now, without holding it in memory. One that is not there is left out;
    /// one that must not be read, because it is too large or not a regular file, has another hash
    /// than one that may, and costs nothing.
    fn add_current(&mut self, path: &Path, limit: usize) {
        // Two globs may match one file.
        if self.hashes.contains_key(self.relative(path)) {
            return;
        }
        let hash = bounded_file::hash(path, limit);
        if let Some(fingerprint) = bounded_file::fingerprint(hash.as_ref().copied()) {
            self.insert(path, fingerprint);
        }
    }

    /// Adds the files that a glob matches now. A failed search is a change like any other.
    fn add_matches(&mut self, glob: &TaskGlob, left: &mut u64) {
        let files = match glob.find() {
            Ok(Matches { files, .. }) => files,
            Err(error) => {
                let hash = task::stable_hash([UNREAD, error.to_string().as_bytes()]);
                self.insert(Path::new(glob.text()), hash);
                return;
            }
        };
        for path in files {
            // Beyond what is read of all lists together only sizes count.
            let length = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            match left.checked_sub(length) {
                Some(rest) => {
                    *left = rest;
                    self.add_current(&path, list_limit(&path));
                }
                None => {
                    let hash = task::stable_hash([UNREAD, length.to_le_bytes().as_slice()]);
                    self.insert(&path, hash);
                }
            }
        }
    }

    fn finish(&self) -> u64 {
        let content: Vec<_> =
            self.hashes.iter().map(|(path, hash)| (path, hash.to_le_bytes())).collect();
        let parts = content
            .iter()
            .flat_map(|(path, hash)| [path.as_os_str().as_encoded_bytes(), hash.as_slice()]);
        task::stable_hash(parts)
    }
}

impl ConfigFiles {
    /// Returns the files that were read: the main file and the task files, the globs that led to
    /// the latter, and the files of `tls_config` with a hash of what was read from each.
    pub fn new(
        paths: Vec<PathBuf>,
        mut hasher: FileHasher,
        globs: Vec<ExpandedGlob>,
        pem_files: Vec<(PathBuf, u64)>,
    ) -> Self {
        for (path, hash) in &pem_files {
            hasher.insert(path, *hash);
        }
        let pem_files = pem_files.into_iter().map(|(path, _)| path).collect();
        Self { paths, pem_files, hash: hasher.finish(), globs }
    }

    /// Returns the value that [`ConfigFiles::hash`] would have if the configuration were read now. Blocks on
    /// the file system.
    pub fn current_hash(&self) -> u64 {
        let main = self.paths.first().map_or(Path::new(""), PathBuf::as_path);
        let mut hasher = FileHasher::new(main.parent().unwrap_or(Path::new("")));
        let mut left = u64::try_from(MAX_LIST_BYTES).unwrap_or(u64::MAX);
        hasher.add_current(main, MAX_YAML_BYTES);
        for path in &self.pem_files {
            hasher.add_current(path, MAX_PEM_BYTES);
        }
        for expanded in &self.globs {
            hasher.add_matches(&expanded.glob, &mut left);
        }
        hasher.finish()
    }

    /// Returns a directory from which files of this glob were read and that has vanished since, and what
    /// the reason. Blocks on the file system.
    pub fn vanished(&self, glob: &TaskGlob) -> Option<(&Path, String)> {
        let same = self.globs.iter().filter(|expanded| expanded.glob == *glob);
        same.into_iter().find_map(|expanded| expanded.directories.vanished())
    }

    /// Lists the globs that matched no file, each with the directory that was not there, if one was not.
    pub fn unmatched(&self) -> impl Iterator<Item = (&str, Option<&Path>)> {
        let unmatched = self.globs.iter().filter(|expanded| expanded.directories.is_empty());
        unmatched.map(|expanded| (expanded.glob.text(), expanded.missing.as_deref()))
    }
}

/// Reports whether a task file is a text with one ID a line, which its name says.
pub fn is_text_list(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b".txt")
}

/// Returns how many bytes a task file may have.
pub fn list_limit(path: &Path) -> usize {
    if is_text_list(path) { MAX_LIST_BYTES } else { MAX_YAML_BYTES }
}
