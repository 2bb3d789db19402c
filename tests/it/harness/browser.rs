//! A real browser: Chromium without a window, controlled by the DevTools protocol over two pipes.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Dir, Process, READ_TIMEOUT, tools};

/// A browser with one tab.
pub struct Browser {
    commands: File,
    messages: Receiver<Value>,
    session: String,
    last_id: u64,
    /// Reports of the tab that are no answers to a command.
    events: Vec<Value>,
    _process: Process,
}

impl Browser {
    /// Starts a browser that knows nothing of others.
    pub fn start() -> Self {
        let dir = Dir::new();
        let (commands, answers) = (dir.path("commands"), dir.path("answers"));
        assert!(Command::new("mkfifo").args([&commands, &answers]).status().unwrap().success());
        // It reads descriptor 3 and writes descriptor 4.
        let mut command = Command::new("sh");
        let start = "exec chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage \
                     --no-first-run --hide-scrollbars --remote-debugging-pipe --user-data-dir=\"$0\" \
                     about:blank 3<\"$1\" 4>\"$2\"";
        command.args(["-c", start]).args([&dir.path("profile"), &commands, &answers]);
        tools::present(
            Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()),
            Command::status,
        );
        let process = Process::start(dir, &mut command);
        let commands = File::options().write(true).open(commands).unwrap();
        let answers = File::open(answers).unwrap();
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let session = String::new();
        let mut browser =
            Self { commands, messages, session, last_id: 0, events: Vec::new(), _process: process };
        browser.attach();
        browser
    }

    /// Controls a tab of its own.
    fn attach(&mut self) {
        let target = self.command("Target.createTarget", &json!({ "url": "about:blank" }));
        let parameters = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.command("Target.attachToTarget", &parameters);
        session["sessionId"].as_str().unwrap().clone_into(&mut self.session);
        for domain in ["Page", "Runtime", "Log"] {
            self.command(&format!("{domain}.enable"), &json!({}));
        }
    }

    /// Sends a command; returns its result.
    pub fn command(&mut self, method: &str, parameters: &Value) -> Value {
        self.last_id += 1;
        let mut command = json!({ "id": self.last_id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            command["sessionId"] = json!(self.session);
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).unwrap();
        loop {
            let message = self.message(method);
            if message["id"] == json!(self.last_id) {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    fn message(&mut self, what: &str) -> Value {
        let message = self.messages.recv_timeout(READ_TIMEOUT);
        message.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Opens a page, and waits until it has been loaded.
    pub fn open(&mut self, url: &str) {
        self.events.retain(|event| event["method"] != "Page.loadEventFired");
        let begun = self.command("Page.navigate", &json!({ "url": url }));
        assert!(begun["errorText"].is_null(), "{url}: {begun}");
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let message = self.message(url);
            self.events.push(message);
        }
    }

    /// Returns the value of an expression on the page, or that of the promise that it returns.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.command("Runtime.evaluate", &parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Returns the text of an expression.
    pub fn text(&mut self, expression: &str) -> String {
        let value = self.evaluate(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression}: {value}")).to_owned()
    }

    /// Waits until an expression is true.
    pub fn until(&mut self, expression: &str) {
        let start = Instant::now();
        while self.evaluate(expression) != json!(true) {
            assert!(start.elapsed() < READ_TIMEOUT, "not within {READ_TIMEOUT:?}: {expression}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sets the size of the window.
    pub fn set_size(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.command("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Sets the theme of the system, `light` or `dark`.
    pub fn set_theme(&mut self, theme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": theme });
        self.command("Emulation.setEmulatedMedia", &json!({ "features": [feature] }));
    }

    /// Presses a key, such as `Tab` or `Enter`.
    pub fn press(&mut self, key: &str, code: u32) {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event = json!({ "type": kind, "key": key, "code": key, "text": text, "windowsVirtualKeyCode": code });
            self.command("Input.dispatchKeyEvent", &event);
        }
    }

    /// Types a text.
    pub fn write(&mut self, text: &str) {
        self.command("Input.insertText", &json!({ "text": text }));
    }

    /// Clicks the middle of an element.
    pub fn click(&mut self, selector: &str) {
        let script = format!(
            "(() => {{ const e = document.querySelector({selector:?}); e.scrollIntoView({{ block: 'center' }});
             const box = e.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        );
        let place = self.evaluate(&script);
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.command("Input.dispatchMouseEvent", &event);
        }
    }

    /// Returns what the browser has complained about so far: errors, violations of the policy.
    pub fn complaints(&mut self) -> Vec<String> {
        // Everything that was reported before has been received by then.
        self.evaluate("0");
        let complains = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => event["params"]["type"] == "error",
            Some("Log.entryAdded") => ["error", "warning"]
                .iter()
                .any(|level| event["params"]["entry"]["level"] == **level),
            _ => false,
        };
        self.events.iter().filter(complains).map(ToString::to_string).collect()
    }

    /// Writes a picture of the whole page.
    pub fn picture(&mut self, path: &Path) {
        let parameters = json!({ "captureBeyondViewport": true });
        let picture = self.command("Page.captureScreenshot", &parameters);
        let bytes = BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}
