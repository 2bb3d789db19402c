//! The lists of tasks: the files that globs lead to, and the tasks in them.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::Loader;
use crate::bounded_file;
use crate::config::diagnostic::{Diagnostic, SourceFormat};
use crate::config::document::{self, LongList, NodeKind, YamlNode};
use crate::config::http_client::{is_unexpanded, reason, unexpanded};
use crate::config::place::Location;
use crate::config::privacy::{self, MAX_HIDDEN, Shape};
use crate::config::sources::{self, ExpandedGlob};
use crate::config::span::{Either, Spanned};
use crate::config::task_glob::{MAX_FILES, Matches, TaskGlob, has_wildcard};
use crate::config::tasks::TaskCollector;
use crate::config::{decode, merge_keys, raw};

impl Loader<'_> {
    /// Adds the tasks of the files that an item of `task_files` names.
    pub(super) fn task_files(
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

    /// The files that a glob leads to, by name.
    fn expand(&mut self, location: Location, glob: &str) -> Vec<PathBuf> {
        if !has_extension(glob, LISTS) {
            let diagnostic = Diagnostic::new(location, "a task file ends in .yml, .yaml or .txt");
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

    /// What is wrong with a glob that matches no file.
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
            let (directory, why) = self.before.vanished(glob)?;
            let what = format!("{text:?}: {}: {why}", directory.display());
            let diagnostic = Diagnostic::new(location, "no file matches any more").detail(what);
            Some(
                diagnostic.hint("to take the tasks off the list, leave the directory there, empty"),
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
                .report(diagnostic.hint("its text would be a task ID, which anybody may see"));
        }
        let lines = sources::is_text_list(&path);
        let format = if lines { SourceFormat::Lines } else { SourceFormat::Yaml };
        let limit = sources::list_limit(&path);
        let content = match bounded_file::read(&path, limit.min(self.left)) {
            Ok(content) => content,
            Err(error) => {
                let is_small = fs::metadata(&path).is_ok_and(|metadata| {
                    usize::try_from(metadata.len()).is_ok_and(|length| length <= limit)
                });
                let message = match error.kind() {
                    ErrorKind::FileTooLarge if is_small => {
                        "the task files are larger than 512 MiB together".to_owned()
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
    /// mistake is seen by `see`.
    pub(super) fn task_items(
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
        document::for_each_item(&text, number, list, &mut |mut item| {
            let before = sink.borrow().len() + tasks.diagnostics();
            merge_keys::expand(&mut item, &mut |diagnostic| sink.borrow_mut().push(diagnostic));
            tasks.add(&decode::decode(&item, sink), provider);
            if sink.borrow().len() + tasks.diagnostics() == before {
                see(&item);
            } else if hidden.len() <= MAX_HIDDEN {
                // In one without mistakes there is nothing to hide.
                hidden.extend(privacy::hidden_in_item(&item, &shape));
            }
        });
        if let Some(source) = self.sources.get_mut(index) {
            source.text = text;
            source.hidden.append(&mut hidden);
        }
    }
}

/// How the names of task files end.
const LISTS: &[&str] = &[".yml", ".yaml", ".txt"];

fn has_extension(name: &str, extensions: &[&str]) -> bool {
    extensions.iter().any(|extension| name.ends_with(extension))
}
