//! Reads the files of a source that have changed.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::lists::{FileLists, KnownFile, check_total, find_files, merge};
use super::stamp::FileStamp;
use crate::bounded_file;
use crate::clock::Timestamp;
use crate::config::discovery::{FileSourceConfig, ListFormat, SourceConfig};
use crate::config::http_client::reason;
use crate::config::{LabelLimits, Provider};
use crate::discovery::list::{MAX_LIST_BYTES, RefreshError, RefreshReason, SourceList};
use crate::discovery::list_builder::ListBuilder;
use crate::discovery::list_parser;
use crate::observation::Reason;
use crate::printable::excerpt;
use crate::task::stable_hash;

/// The reason of a list with too many elements.
const TOO_MANY: RefreshReason = RefreshReason::Poll(Reason::TooLarge);
/// Maximum length of a file's name in a message, in characters.
const MAX_NAME_CHARS: usize = 512;

/// The outcome of reading the files.
#[derive(Debug)]
pub struct FilesRead {
    pub version: u64,
    /// The list of all files, if it is another one than before.
    pub list: Option<SourceList>,
    /// The first error of a file.
    pub error: Option<RefreshError>,
}

/// One reading of the files.
pub struct FileReader {
    pub config: Arc<SourceConfig>,
    pub files: Arc<FileSourceConfig>,
    pub providers: Vec<Arc<Provider>>,
    pub limits: LabelLimits,
    pub now: Timestamp,
    /// Maximum number of elements of all files.
    pub max_elements: usize,
    /// True if unchanged files are parsed.
    pub must_parse: bool,
    /// True if files that seem unchanged are read.
    pub must_read: bool,
    /// The version of the list that is known already.
    pub returned: Option<u64>,
}

impl FileReader {
    /// Reads the files. Blocks on the file system.
    pub fn read(&self, lists: &mut FileLists) -> Result<FilesRead, RefreshError> {
        let found = find_files(&self.files).and_then(|found| check_total(&found.0).map(|()| found));
        lists.search_error = found.as_ref().err().cloned();
        let (paths, unmatched) = found?;
        self.log_unmatched(&unmatched, &mut lists.unmatched);
        let mut known: HashMap<PathBuf, KnownFile> =
            lists.files.drain(..).map(|file| (file.path.clone(), file)).collect();
        for path in paths {
            let file = known.remove(&path);
            lists.files.push(file.unwrap_or_else(|| KnownFile { path, ..KnownFile::default() }));
        }
        lists.version += u64::from(known.values().any(|file| file.list.is_some()));
        let mut elements: usize = lists.files.iter().map(KnownFile::elements).sum();
        for file in &mut lists.files {
            elements -= file.elements();
            lists.version += u64::from(self.read_file(file, self.max_elements - elements));
            elements += file.elements();
        }
        Ok(self.outcome(lists))
    }

    fn outcome(&self, lists: &FileLists) -> FilesRead {
        let errors = lists.files.iter().filter_map(|file| file.error.as_ref());
        let error = errors.clone().next().cloned().map(|error| match errors.count() - 1 {
            0 => error,
            more => {
                let message = format!("{} (and {more} more)", error.message);
                RefreshError { message, ..error }
            }
        });
        let is_known = self.returned == Some(lists.version);
        // Before the first good list there is none to be changed.
        let is_nothing = self.returned.is_none()
            && error.is_some()
            && lists.files.iter().all(|file| file.list.is_none());
        let list = (!is_known && !is_nothing).then(|| merge(&lists.files));
        FilesRead { version: lists.version, list, error }
    }

    /// Reads a file if it may have changed, and returns true if its list has.
    fn read_file(&self, file: &mut KnownFile, max_elements: usize) -> bool {
        let stamp = FileStamp::of(&file.path, SystemTime::now());
        let is_same = match (&file.stamp, &stamp) {
            (Some(before), Some(stamp)) => before.is_same(stamp) && !before.is_recent,
            (None, None) => true,
            _ => false,
        };
        if is_same && file.error.is_none() && !self.must_read && !self.must_parse {
            return false;
        }
        file.stamp = stamp;
        let content = match self.content(&file.path) {
            Ok(Some(content)) => content,
            Ok(None) => {
                (file.stamp, file.hash, file.error) = (None, None, None);
                return file.list.take().is_some();
            }
            Err(error) => {
                (file.hash, file.error) = (None, Some(error));
                return false;
            }
        };
        let hash = Some(stable_hash([content.as_slice()]));
        if hash == file.hash && !self.must_parse {
            return false;
        }
        file.hash = hash;
        match self.parse(&file.path, content, max_elements) {
            Ok(parsed) => {
                file.error = None;
                let is_new = file.list.as_ref() != Some(&parsed);
                file.list = Some(parsed);
                is_new
            }
            Err(error) => {
                if error.reason == TOO_MANY {
                    // It may fit when the other files have become shorter.
                    file.hash = None;
                }
                file.error = Some(error);
                false
            }
        }
    }

    /// Returns the content of a file; `None` if there is none.
    fn content(&self, path: &Path) -> Result<Option<Vec<u8>>, RefreshError> {
        let error = |reason: RefreshReason, wrong: &str| {
            Err(RefreshError::new(reason, format!("{}: {wrong}", name(path))))
        };
        let secrets = &self.files.secret_files;
        if !secrets.is_empty() && fs::canonicalize(path).is_ok_and(|path| secrets.contains(&path)) {
            return error(RefreshReason::Read, "a secret file cannot be a list of tasks");
        }
        match bounded_file::read(path, MAX_LIST_BYTES) {
            Ok(content) => Ok(Some(content)),
            Err(wrong) => match wrong.kind() {
                ErrorKind::NotFound => Ok(None),
                ErrorKind::FileTooLarge => error(Reason::TooLarge.into(), &wrong.to_string()),
                _ => error(RefreshReason::Read, &reason(&wrong)),
            },
        }
    }

    fn parse(
        &self,
        path: &Path,
        content: Vec<u8>,
        max_elements: usize,
    ) -> Result<(SourceList, usize), RefreshError> {
        let Self { config, providers, limits, now, .. } = self;
        let name = name(path);
        let format = ListFormat::of(&path.to_string_lossy()).unwrap_or(ListFormat::Lines);
        let mut list =
            ListBuilder::new(config, providers, *limits, *now, max_elements).with_name(&name);
        match list_parser::parse(content, format, &mut list) {
            Ok(()) => {
                let elements = list.elements();
                Ok((list.finish(), elements))
            }
            Err(error) => {
                let message = match error.reason {
                    TOO_MANY => {
                        format!("{name}: more than {} elements in all files", self.max_elements)
                    }
                    _ => format!("{name}: {}", error.message),
                };
                Err(RefreshError { message, ..error })
            }
        }
    }

    /// Logs each glob once when it begins to match no file.
    fn log_unmatched(&self, unmatched: &[&str], logged: &mut HashSet<String>) {
        logged.retain(|glob| unmatched.contains(&glob.as_str()));
        for glob in unmatched {
            if logged.insert((*glob).to_owned()) {
                let config = &*self.config.name;
                tracing::warn!(config, glob, "no file matches a glob of file_sd_configs");
            }
        }
    }
}

/// Returns the name of a file in messages.
fn name(path: &Path) -> String {
    excerpt(&path.to_string_lossy(), MAX_NAME_CHARS)
}
