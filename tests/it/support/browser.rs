//! A real browser without a screen: Chromium, driven over `WebDriver` (W3C), which is JSON over HTTP.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{DEADLINE, eventually, free_port};

/// One at a time: each takes all of two cores for a while.
static TURN: Mutex<()> = Mutex::new(());

pub(crate) const TAB: char = '\u{E004}';
pub(crate) const ENTER: char = '\u{E007}';
pub(crate) const ESCAPE: char = '\u{E00C}';
pub(crate) const DOWN: char = '\u{E015}';

const INSTALL: &str = "run: sudo apt-get install chromium chromium-driver";
const INSTALL_AXE: &str = "`./run-tests` installs it, or: npm install --prefix target/axe axe-core@4.14.1";

#[derive(Debug)]
pub(crate) struct Browser {
    agent: ureq::Agent,
    driver: Child,
    session: String,
    profile: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// What a page looks like: its size, and the colours that its user prefers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) name: &'static str,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) scheme: &'static str,
}

impl Browser {
    /// Opens a page in a browser that knows nothing.
    #[track_caller]
    pub(crate) fn open(url: &str) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let (port, profile) = (free_port(), tempfile::tempdir().unwrap());
        let mut command = Command::new("chromedriver");
        command
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // So that the browser itself ends with it.
        let driver = command.process_group(0).spawn();
        let driver = driver.unwrap_or_else(|error| panic!("chromedriver: {error}; {INSTALL}"));
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
        let agent = config.timeout_global(Some(2 * DEADLINE)).build().new_agent();
        let session = format!("http://127.0.0.1:{port}");
        let mut browser = Self { agent, driver, session, profile, _turn: turn };
        eventually("chromedriver", || browser.agent.get(format!("{}/status", browser.session)).call().ok());
        browser.begin();
        browser.post("url", &json!({ "url": url }));
        browser
    }

    fn begin(&mut self) {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        // In a container, root has no sandbox, and /dev/shm is small.
        let args = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", &profile];
        let options =
            json!({ "goog:chromeOptions": { "args": args }, "goog:loggingPrefs": { "browser": "ALL" } });
        let session = self.post("session", &json!({ "capabilities": { "alwaysMatch": options } }));
        self.session = format!("{}/session/{}", self.session, session["sessionId"].as_str().expect(INSTALL));
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.agent.post(format!("{}/{path}", self.session));
        let mut answer = request.header("Content-Type", "application/json").send(body.to_string()).unwrap();
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().unwrap();
        assert_eq!(answer.status(), 200, "{path}: {text}");
        serde_json::from_str::<Value>(&text).unwrap()["value"].take()
    }

    fn devtools(&self, command: &str, parameters: &Value) {
        self.post("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }));
    }

    #[track_caller]
    pub(crate) fn look(&self, look: Look) {
        let Look { width, height, scheme, .. } = look;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" }] });
        self.devtools("Emulation.setEmulatedMedia", &features);
        // Two frames on, all of it is laid out.
        let frames =
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()));";
        self.post("execute/async", &json!({ "script": frames, "args": [] }));
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub(crate) fn value(&self, expression: &str) -> Value {
        self.run(&format!("return {expression}"))
    }

    /// Runs statements in the page.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression has a value.
    #[track_caller]
    pub(crate) fn expect(&self, expression: &str, wanted: impl Into<Value>) {
        let wanted = wanted.into();
        let mut last = Value::Null;
        let start = std::time::Instant::now();
        while start.elapsed() < DEADLINE {
            last = self.value(expression);
            if last == wanted {
                return;
            }
            super::pause();
        }
        panic!("{expression} is {last}, not {wanted}");
    }

    /// Waits until the text of what a selector finds holds another.
    #[track_caller]
    pub(crate) fn expect_text(&self, selector: &str, text: &str) {
        let found =
            eventually(&format!("{selector} with `{text}`; it has `{}`", self.text(selector)), || {
                Some(self.text(selector)).filter(|found| found.contains(text))
            });
        assert!(found.contains(text));
    }

    /// The text of what a selector finds first; nothing where it finds nothing that is visible.
    #[track_caller]
    pub(crate) fn text(&self, selector: &str) -> String {
        let script =
            "const e = document.querySelector(SELECTOR); return e?.checkVisibility() ? e.innerText : ''";
        let value = self.run(&script.replace("SELECTOR", &json!(selector).to_string()));
        value.as_str().unwrap_or_default().to_owned()
    }

    /// What screen readers take an element for.
    #[track_caller]
    pub(crate) fn role(&self, selector: &str) -> String {
        let found = self.post("element", &json!({ "using": "css selector", "value": selector }));
        let element = found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        let mut answer =
            self.agent.get(format!("{}/element/{element}/computedrole", self.session)).call().unwrap();
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        answer["value"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn is_shown(&self, selector: &str) -> bool {
        let visible = format!("document.querySelector({})?.checkVisibility() ?? false", json!(selector));
        self.value(&visible) == true
    }

    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        let found = self
            .run(&format!("const e = document.querySelector({}); e?.click(); return !!e", json!(selector)));
        assert_eq!(found, true, "nothing is {selector}");
    }

    /// Presses and releases keys, one after the other, wherever the focus is.
    #[track_caller]
    pub(crate) fn press(&self, keys: impl IntoIterator<Item = char>) {
        let actions = keys
            .into_iter()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })));
        let actions: Vec<_> = actions.collect();
        self.post(
            "actions",
            &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] }),
        );
    }

    /// Presses Tab until the focus is at what a selector names, as somebody without a mouse does.
    #[track_caller]
    pub(crate) fn tab_to(&self, selector: &str) {
        const MOST: usize = 100;
        let is_there = format!("document.activeElement.matches({})", json!(selector));
        for _ in 0..MOST {
            if self.value(&is_there) == true {
                return;
            }
            self.press([TAB]);
        }
        panic!("Tab does not lead to {selector}");
    }

    #[track_caller]
    pub(crate) fn reload(&self) {
        self.post("refresh", &json!({}));
    }

    /// What the console has, of errors and of what the policy has refused, since it was asked last.
    #[track_caller]
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.post("se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().unwrap().iter().filter(|entry| entry["level"] == "SEVERE");
        entries.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// The addresses of all that the page has fetched.
    #[track_caller]
    pub(crate) fn fetched(&self) -> Vec<String> {
        let names = self.value("performance.getEntriesByType('resource').map((entry) => entry.name)");
        serde_json::from_value(names).unwrap()
    }

    /// What axe finds wrong with what is shown: rules, and where they are broken.
    #[track_caller]
    pub(crate) fn violations(&self) -> Value {
        let source = axe_directory().join("node_modules/axe-core/axe.min.js");
        let source = fs::read_to_string(&source)
            .unwrap_or_else(|error| panic!("{}: {error}; {INSTALL_AXE}", source.display()));
        let script = "const done = arguments[0]; axe.run().then(({ violations }) => done(violations.map((found) =>
            `${found.id}: ${found.nodes.map((node) => `${node.target} ${node.failureSummary}`).join('; ')}`)), (error) => done(String(error)));";
        self.run(&source);
        self.post("execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Keeps what is seen in `target/screenshots`.
    #[track_caller]
    pub(crate) fn screenshot(&self, name: &str) -> PathBuf {
        let mut answer = self.agent.get(format!("{}/screenshot", self.session)).call().unwrap();
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        let png = BASE64_STANDARD.decode(answer["value"].as_str().unwrap()).unwrap();
        let directory = target_directory().join("screenshots");
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join(format!("{name}.png"));
        fs::write(&path, png).unwrap();
        path
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let text = self.agent.post(format!("{}/se/log", self.session)).send(r#"{"type":"browser"}"#);
            let text = text.ok().and_then(|mut answer| answer.body_mut().read_to_string().ok());
            eprintln!("--- console of the browser\n{}", text.unwrap_or_default());
        }
        let brief =
            self.agent.delete(&self.session).config().timeout_global(Some(Duration::from_secs(5))).build();
        let _ = brief.call();
        let _ = killpg(Pid::from_raw(i32::try_from(self.driver.id()).unwrap()), Signal::SIGKILL);
        let _ = self.driver.wait();
    }
}

fn target_directory() -> PathBuf {
    let here = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(here, PathBuf::from)
}

/// Where npm has installed it.
fn axe_directory() -> PathBuf {
    std::env::var_os("AXE_DIR").map_or_else(|| target_directory().join("axe"), PathBuf::from)
}
