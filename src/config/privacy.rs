//! Which lines may hold a secret and are therefore never shown. The rules read text, not the
//! tree, because the worst lines are those of files that have no tree. They err on the side of
//! hiding: whoever reads the message has the file.

/// What the names of secrets contain, after lower-casing.
const WORDS: &[&str] = &[
    "auth", "bearer", "cookie", "cred", "header", "jwt", "key", "pass", "proxy", "pwd", "secret",
    "sign", "token",
];
/// Names that people misspell, and how many letters may be wrong.
const NAMES: &[(&str, usize)] = &[
    ("access_key", 2),
    ("authorization", 4),
    ("basic_auth", 3),
    ("credentials", 4),
    ("http_headers", 3),
    ("password", 2),
    ("proxy_url", 2),
    ("secret", 2),
    ("token", 1),
];

/// Keys whose values are no secrets: what may be shown of a text that is not YAML.
const PLAIN: &[&str] = &[
    "accept",
    "burst",
    "codes",
    "enqueue_time",
    "failure_code",
    "failure_reason",
    "files",
    "finish_time",
    "format",
    "global",
    "id",
    "job_type",
    "label_limit",
    "labels",
    "max_in_flight",
    "max_tasks",
    "message",
    "method",
    "name",
    "params",
    "path",
    "per",
    "per_task_series",
    "poll_interval",
    "poll_timeout",
    "preset",
    "progress",
    "provider",
    "providers",
    "rate_limit",
    "refine",
    "requests",
    "response",
    "retain_finished",
    "state",
    "states",
    "status",
    "stuck_after",
    "success",
    "task",
    "task_files",
    "tasks",
    "tls_config",
];
/// The longest line that is judged, in bytes; nobody could read a longer one either.
const MAX_LINE_BYTES: usize = 4_096;
/// How many lines are judged as parts of one value.
const MAX_RUN_LINES: usize = 1_000;

/// Whether a key, going by its name or a misspelling of it, may have a secret as its value.
pub fn sensitive(key: &str) -> bool {
    let key = key.to_lowercase();
    WORDS.iter().any(|word| key.contains(word))
        || NAMES.iter().any(|(name, wrong)| strsim::osa_distance(&key, name) <= *wrong)
}

/// The lines of a text as libyaml counts them.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let breaks = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
        let Some((line, after)) = text.split_once(breaks) else {
            rest = None;
            return Some(text);
        };
        // "\r\n" is one break.
        let carriage_return = text.get(line.len()..).is_some_and(|tail| tail.starts_with("\r\n"));
        rest = if carriage_return { after.get(1..) } else { Some(after) };
        Some(line)
    })
}

/// Whether a line (from 1) may hold a secret: itself, one of the lines whose block it is in, or
/// one that it continues. Where the text is `broken`, nothing tells which lines belong together,
/// so only what is known to be harmless counts as that.
pub fn may_hold_secret(text: &str, line: u32, broken: bool) -> bool {
    let mut context = Context::default();
    for (number, text) in (1..).zip(lines(text)) {
        context.enter(text);
        if number == line {
            return context.private(text) || broken && !context.is_plain();
        }
    }
    false
}

/// What a line is part of.
#[derive(Default)]
struct Context<'t> {
    /// The lines of the open blocks, with their indentation.
    blocks: Vec<(usize, &'t str)>,
    /// The lines since the last one that looks like an entry and stands outside brackets and
    /// quotes: what the present line may continue.
    run: Vec<&'t str>,
    /// The run before, and its blocks.
    above: Vec<&'t str>,
    open: Open,
}

impl<'t> Context<'t> {
    fn enter(&mut self, line: &'t str) {
        let content = line.trim_start();
        if content.is_empty() {
            return;
        }
        if self.open.none() && is_entry(content) {
            self.above = self.blocks.iter().map(|(_, line)| *line).collect();
            self.above.append(&mut self.run);
        }
        self.run.push(line);
        let indent = line.chars().count() - content.chars().count();
        let item = is_item(content);
        // `- x` at the indentation of `key:` is inside the key's block.
        self.blocks.retain(|(at, text)| {
            *at < indent || (*at == indent && item && !is_item(text.trim_start()))
        });
        self.blocks.push((indent, line));
        self.open.read(content);
    }

    fn private(&self, line: &str) -> bool {
        if self.run.len() > MAX_RUN_LINES {
            return true;
        }
        let blocks = self.blocks.iter().map(|(_, line)| *line);
        blocks.chain(self.run.iter().copied()).chain([line]).any(smells)
    }

    /// Whether the present line, of a text that is not YAML, is known to be harmless: it begins
    /// with a plain key or is part of a list of tasks, and the entry above it holds no secret.
    fn is_plain(&self) -> bool {
        let known = match self.blocks.as_slice() {
            // A list that is in no block is a file of tasks.
            [(_, line)] if is_item(line.trim_start()) => true,
            blocks => {
                let own = blocks.last().map_or("", |(_, line)| first_word(line));
                PLAIN.contains(&own) || blocks.iter().any(|(_, line)| first_word(line) == "tasks")
            }
        };
        known && !self.above.iter().copied().any(smells)
    }
}

fn first_word(line: &str) -> &str {
    let start = line.trim_start_matches([' ', '-', '{', '[', '"', '\'']);
    start.split([' ', ':', '"', '\'']).next().unwrap_or_default()
}

fn is_item(content: &str) -> bool {
    content.starts_with("- ") || content == "-"
}

/// Whether a line looks like `key: …`, `- …` or a comment, and so continues no other.
fn is_entry(content: &str) -> bool {
    let key =
        content.split_once(':').filter(|(_, value)| value.is_empty() || value.starts_with(' '));
    let is_key = |key: &str| {
        let key = key.trim_end().trim_matches(['"', '\'']);
        !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-. /".contains(c))
    };
    is_item(content) || content.starts_with('#') || key.is_some_and(|(key, _)| is_key(key))
}

/// What a line says of itself: a sensitive word, a user in a URL, or an anchor, by which a value
/// travels to where nothing tells what it is.
pub fn smells(line: &str) -> bool {
    let url_with_more = line.contains("url") && line.contains(['?', '#']);
    let anchor = |(index, _): (usize, &str)| {
        line.get(..index)
            .is_some_and(|start| start.is_empty() || start.ends_with([' ', '\t', '[', '{', ',']))
    };
    line.len() > MAX_LINE_BYTES
        || line.contains('@')
        || url_with_more
        || line.match_indices('&').any(anchor)
        || line.split(|c: char| !c.is_alphanumeric() && c != '_').any(sensitive)
}

/// Brackets and quotes that are open at the end of a line.
#[derive(Default)]
struct Open {
    brackets: usize,
    quote: Option<char>,
}

impl Open {
    const fn none(&self) -> bool {
        self.brackets == 0 && self.quote.is_none()
    }

    fn read(&mut self, line: &str) {
        let mut before = ' ';
        for character in line.chars() {
            match (self.quote, character) {
                (Some('"'), _) if before == '\\' => {}
                (Some(quote), _) => self.quote = Some(quote).filter(|quote| *quote != character),
                (None, '#') if before == ' ' || before == '\t' => return,
                (None, '"' | '\'') if " \t[{,:".contains(before) => self.quote = Some(character),
                (None, '[' | '{') if " \t[{,:".contains(before) => self.brackets += 1,
                (None, ']' | '}') => self.brackets = self.brackets.saturating_sub(1),
                _ => {}
            }
            before = character;
        }
    }
}
