//! The pages in a real browser: they refresh by themselves, follow the theme of the system, fit a phone,
//! and can be used by keyboard.

use serde_json::{Value, json};

use crate::harness::browser::Browser;
use crate::harness::http::encode;
use crate::harness::{Dir, Exporter, Gateway, until};

/// An exporter with tasks in trouble, and conditions of every kind.
struct Stage {
    gateway: Gateway,
    exporter: Exporter,
    long_id: String,
}

impl Stage {
    fn start() -> Self {
        let gateway = Gateway::start();
        let script =
            |status| json!({ "enqueued_seconds_ago": 3_700, "steps": [{ "status": status }] });
        gateway.put("lame", &script("queued"));
        gateway.put("bad", &script("failed"));
        let long_id = "long-".repeat(180);
        let tasks: String =
            (0..60).map(|n| format!("- {{ provider: mj, id: running-{n} }}\n")).collect();
        let config = format!(
            "global: {{ poll_interval: 300ms }}\nproviders:\n- {}\n\
             - {{ name: 'a provider with a long name that is down', preset: mjdjourney, \
                  base_url: 'http://127.0.0.1:1' }}\n\
             file_sd_configs: [{{ name: cron, provider: mj, files: [none.json] }}]\n\
             tasks:\n- {{ provider: mj, id: lame, labels: {{ customer: acme }} }}\n\
             - {{ provider: mj, id: bad }}\n- {{ provider: mj, id: {long_id} }}\n\
             - {{ provider: 'a provider with a long name that is down', id: code-1203-x }}\n{tasks}",
            gateway.provider("mj", "")
        );
        let dir = Dir::with(&config);
        dir.write("none.json", "oops");
        let exporter = Exporter::start_in(dir, &[]);
        assert_eq!(exporter.reload(&format!("{config}oops: 1\n")).status, 500);
        until("everything is shown", || {
            let page = exporter.get("/");
            ["condition-reload", "condition-unanswered-2", "condition-source-1", "/tasks/"]
                .iter()
                .all(|part| page.text().contains(part))
        });
        Self { gateway, exporter, long_id }
    }

    fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.exporter.address)
    }

    /// The targets of every page.
    fn targets(&self) -> [String; 6] {
        [
            "/".to_owned(),
            "/tasks".to_owned(),
            "/tasks?state=queued&stuck=true&label.customer=acme".to_owned(),
            "/tasks/mj/lame".to_owned(),
            format!("/tasks/mj/{}", encode(&self.long_id)),
            "/service-discovery".to_owned(),
        ]
    }
}

/// Has the page refresh now, as it does when its tab is shown again.
const REFRESH: &str = "document.dispatchEvent(new Event('visibilitychange'))";

const AS_OF: &str = "document.querySelector('.status time').textContent";

/// Returns the text of an element of the page, without superfluous spaces.
fn seen(selector: &str) -> String {
    format!("(document.querySelector({selector:?})?.innerText.replace(/\\s+/g, ' ').trim() ?? '')")
}

#[test]
fn a_page_refreshes_and_keeps_what_a_person_does() {
    let stage = Stage::start();
    let mut browser = Browser::start();
    browser.set_size(800, 400);
    browser.open(&stage.url("/tasks?provider=mj"));
    browser.evaluate("window.isTheSame = true");
    // By its timer.
    let before = browser.text(AS_OF);
    browser.until(&format!("{AS_OF} !== {before:?}"));

    // Text in a field, and the focus in it.
    browser.evaluate("document.querySelector('form input:not([type=hidden])').focus()");
    browser.write("typed");
    let row = "[...document.querySelectorAll('tr')].find((row) => row.innerText.includes('lame'))";
    browser.evaluate(&format!("{row}.scrollIntoView(); scrollBy(0, 40)"));
    assert_ne!(browser.evaluate("scrollY"), json!(0));
    let place = format!("Math.round({row}.getBoundingClientRect().top)");
    let scrolled = browser.evaluate(&place);
    stage
        .gateway
        .put("lame", &json!({ "enqueued_seconds_ago": 3_700, "steps": [{ "status": "running" }] }));
    stage.exporter.await_state("lame", "running");
    browser.evaluate(REFRESH);
    browser.until(&format!("{row}.innerText.includes('running')"));
    assert_eq!(browser.evaluate("document.activeElement.value"), json!("typed"));
    assert_eq!(browser.evaluate(&place), scrolled);

    // The focus on the link of a task stays with the task, whose row moves.
    let link = "document.querySelector('a[href=\"/tasks/mj/lame\"]')";
    browser.evaluate(&format!("{link}.focus()"));
    stage.gateway.put("lame", &json!({ "steps": [{ "status": "completed" }] }));
    stage.exporter.await_state("lame", "succeeded");
    browser.evaluate(REFRESH);
    browser.until(&format!("!{row} || {row}.innerText.includes('succeeded')"));
    assert_eq!(browser.text("document.activeElement.getAttribute('href')"), "/tasks/mj/lame");

    let link = "document.querySelector('a[href=\"/tasks/mj/running-7\"]')";
    let row = format!("{link}.closest('tr')");
    browser.evaluate(&format!("{link}.focus()"));
    stage.gateway.put("running-7", &json!({ "steps": [{ "status": "failed" }] }));
    stage.exporter.await_state("running-7", "failed");
    browser.evaluate(REFRESH);
    browser.until(&format!("{row}.innerText.includes('failed') && {row}.rowIndex < 5"));
    assert_eq!(browser.text("document.activeElement.getAttribute('href')"), "/tasks/mj/running-7");

    // Selected text is not touched: the page waits.
    let select = "getSelection().selectAllChildren(document.querySelector('h1'))";
    browser.evaluate(select);
    let before = browser.text(AS_OF);
    browser.evaluate(REFRESH);
    browser.until(&format!("{} === 'Waiting while text is selected.'", seen("#refresh-note")));
    assert_eq!(browser.text("getSelection().toString()"), "Tasks");
    assert_eq!(browser.text(AS_OF), before);
    browser.evaluate("getSelection().removeAllRanges()");
    browser.until(&format!("({REFRESH}, {AS_OF} !== {before:?})"));
    assert_eq!(browser.text(&seen("#refresh-note")), "");
    assert_eq!(browser.evaluate("window.isTheSame"), json!(true), "it was loaded once");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_switch_is_remembered_and_a_silent_exporter_is_visible() {
    let mut stage = Stage::start();
    let mut browser = Browser::start();
    browser.open(&stage.url("/"));
    let is_on = "document.querySelector('#refresh input').checked";
    assert_eq!(browser.evaluate(is_on), json!(true));
    browser.click("#refresh input");
    assert_eq!(browser.evaluate(is_on), json!(false));
    browser.open(&stage.url("/service-discovery"));
    assert_eq!(browser.evaluate(is_on), json!(false), "on another page");
    let as_of = browser.text(AS_OF);
    let now = "new Date().toISOString().slice(0, 19) + 'Z'";
    browser.until(&format!("{now} > {as_of:?}"));
    // Counted where the script begins a request, so that none is overlooked that is under way.
    browser.evaluate(
        "window.requests = 0;
         const request = window.fetch;
         window.fetch = (...parameters) => { window.requests += 1; return request(...parameters); };",
    );
    browser.evaluate(REFRESH);
    assert_eq!(browser.evaluate("window.requests"), json!(0));
    browser.click("#refresh input");
    browser.until(&format!("{AS_OF} !== {as_of:?}"));
    assert_ne!(browser.evaluate("window.requests"), json!(0));
    assert_eq!(
        browser.evaluate("document.getElementById('refresh').checkVisibility()"),
        json!(true)
    );
    // A condition that ends goes, and the title with it.
    let title = browser.text("document.title");
    assert!(
        title.starts_with('(') && title.ends_with(") Service discovery – aitask_exporter"),
        "{title}"
    );
    stage.exporter.process.dir.write("none.json", "[]");
    browser.until(&format!("({REFRESH}, !document.getElementById('condition-source-1'))"));
    assert!(browser.evaluate("!!document.getElementById('condition-reload')") == json!(true));
    assert_eq!(browser.complaints(), [""; 0]);

    stage.exporter.process.signal("KILL");
    stage.exporter.process.wait();
    browser.until(&format!(
        "({REFRESH}, {} === 'Not refreshed: the exporter does not answer.')",
        seen("#refresh-note")
    ));
    let color = "getComputedStyle(document.getElementById('refresh-note')).color";
    assert_eq!(browser.text(color), "rgb(179, 0, 27)");
}

#[test]
fn pages_follow_the_theme_fit_a_phone_and_are_legible() {
    let stage = Stage::start();
    let mut browser = Browser::start();
    let mut grounds = Vec::new();
    for theme in ["light", "dark"] {
        browser.set_theme(theme);
        for target in stage.targets() {
            for width in [390, 1200] {
                browser.set_size(width, 800);
                browser.open(&stage.url(&target));
                let shown = format!("{target} {theme} {width}");
                let found = browser.evaluate(include_str!("contrast.js"));
                assert_eq!(found["low"], json!([]), "{shown}");
                assert!(found["texts"].as_u64() > Some(20), "{shown}: {found}");
                // Not compared with the window, which a phone enlarges for what does not fit.
                let page_width = browser.evaluate("document.documentElement.scrollWidth");
                assert!(page_width.as_u64() <= Some(width.into()), "{shown}: {page_width}");
                if let Ok(folder) = std::env::var("PICTURES") {
                    let name = shown.replace(['/', '?', '&', ' '], "_");
                    let name: String = name.chars().take(60).collect();
                    browser.picture(
                        &std::path::Path::new(&folder).join(format!("{name}-{theme}-{width}.png")),
                    );
                }
            }
        }
        grounds.push(browser.text("getComputedStyle(document.body).backgroundColor"));
    }
    assert_eq!(grounds, ["rgb(255, 255, 255)", "rgb(20, 23, 28)"]);
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Presses the tabulator; returns a description of the element that has the focus then.
fn tab(browser: &mut Browser) -> Value {
    browser.press("Tab", 9);
    browser.evaluate(
        "(() => { const e = document.activeElement; const style = getComputedStyle(e);
         return { name: e.localName, href: e.getAttribute('href'), skip: e.className === 'skip',
                  left: e.getBoundingClientRect().left, outline: style.outlineStyle,
                  index: [...document.querySelectorAll('*')].indexOf(e) }; })()",
    )
}

#[test]
fn pages_can_be_used_by_keyboard() {
    let stage = Stage::start();
    let mut browser = Browser::start();
    browser.set_size(390, 800);
    for target in ["/", "/tasks?stuck=true", "/tasks/mj/lame", "/service-discovery"] {
        browser.open(&stage.url(target));
        // A row that comes in the meantime would be one more stop.
        browser.evaluate("localStorage.setItem('aitask_exporter.refresh', 'off')");
        browser.open(&stage.url(target));
        // Where to go first, visible and effective.
        let first = tab(&mut browser);
        assert!(first["skip"] == true && first["left"].as_f64() >= Some(0.0), "{target}: {first}");
        let (mut last, mut stops) = (first["index"].clone(), 1);
        let all = browser.evaluate(
            "[...document.querySelectorAll('a[href], input, select, button, summary, [tabindex=\"0\"]')]
             .filter((e) => e.type !== 'hidden' && e.checkVisibility()).length",
        );
        // In the order of the page, and each with a visible outline.
        while json!(stops) != all {
            let stop = tab(&mut browser);
            assert!(stop["index"].as_u64() > last.as_u64(), "{target}: {stop} of {all}");
            assert_eq!(stop["outline"], "solid", "{target}: {stop}");
            last = stop["index"].clone();
            stops += 1;
        }
        // Every table that scrolls can be scrolled.
        let stuck = "[...document.querySelectorAll('.wide')].filter((box) => box.scrollWidth > box.clientWidth
                     && (box.tabIndex !== 0 || !box.getAttribute('aria-label'))).length";
        assert_eq!(browser.evaluate(stuck), json!(0), "{target}");
        let headings =
            "[...document.querySelectorAll('h1, h2, h3')].map((e) => e.localName).join(' ')";
        let headings = browser.text(headings);
        assert!(
            headings.starts_with("h1") && !headings[2..].contains("h1"),
            "{target}: {headings}"
        );
        let fields = "[...document.querySelectorAll('input, select')]
                      .filter((e) => e.type !== 'hidden' && !e.labels.length).length";
        assert_eq!(browser.evaluate(fields), json!(0), "{target}");
    }
    browser.open(&stage.url("/"));
    tab(&mut browser);
    browser.press("Enter", 13);
    assert_eq!(browser.text("document.activeElement.id"), "content");
    let next = tab(&mut browser);
    let in_content = "document.getElementById('content').contains(document.activeElement)";
    assert_eq!(browser.evaluate(in_content), json!(true), "{next}");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn no_other_script_runs() {
    let stage = Stage::start();
    let mut browser = Browser::start();
    browser.open(&stage.url("/"));
    browser.evaluate(
        "window.hasRun = false;
         for (const [name, value] of [['textContent', 'window.hasRun = true'], ['src', '/api/v1/tasks']]) {
           const script = document.createElement('script');
           script[name] = value;
           document.body.append(script);
         }
         const image = document.createElement('p');
         image.innerHTML = '<button onclick=\"window.hasRun = true\">x</button>';
         document.body.append(image);
         image.firstChild.click();",
    );
    assert_eq!(browser.evaluate("window.hasRun"), json!(false));
    let complaints = browser.complaints().join("\n");
    assert!(complaints.matches("Content Security Policy").count() >= 3, "{complaints}");
}
