//! A real Chromium without a screen, driven over its driver (W3C `WebDriver`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::process::{Process, Spec};
use crate::wait::wait_until;
use crate::world::World;

const START: Duration = Duration::from_mins(1);

/// A running Chromium with one empty profile and one tab.
#[derive(Debug)]
pub struct Browser {
    driver: Arc<Process>,
    http: reqwest::Client,
    session: String,
}

impl Browser {
    /// Starts it; returns when its tab can be used.
    ///
    /// # Errors
    /// `chromium` or `chromedriver` is missing, or does not start within a minute.
    pub async fn start(world: &World) -> Result<Self> {
        let (port, profile, own) = (world.port()?, world.folder("browser")?, world.folder("driver")?);
        let driver = Spec::new("browser", "chromedriver").arg(format!("--port={port}")).env("TMPDIR", own.display().to_string());
        let driver = world.start(driver).context("is there a `chromedriver`? tests/run installs it")?;
        let (http, url) = (world.http().clone(), format!("http://127.0.0.1:{port}"));
        let ready = async || {
            let answer = http.get(format!("{url}/status")).send().await?.json::<Value>().await?;
            ensure!(answer.pointer("/value/ready") == Some(&Value::Bool(true)), "{answer}");
            Ok(())
        };
        driver.wait_until(START, "the driver of the browser is ready", ready).await?;
        let wishes = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments(&profile)},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let mut browser = Self { driver, http, session: url };
        let made = browser.tell(Method::POST, "/session", Some(&wishes)).await?;
        let id = words(&made, "/sessionId")?;
        browser.session = format!("{}/session/{id}", browser.session);
        Ok(browser)
    }

    /// Opens an address; returns when the page is loaded.
    ///
    /// # Errors
    /// It can not be loaded.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.tell(Method::POST, "/url", Some(&json!({"url": url}))).await.map(drop)
    }

    /// Runs a script as the body of a function in the page, and returns what it returns.
    ///
    /// # Errors
    /// It throws.
    pub async fn run(&self, script: &str) -> Result<Value> {
        self.tell(Method::POST, "/execute/sync", Some(&json!({"script": script, "args": []}))).await
    }

    /// A command of the `DevTools` protocol.
    ///
    /// # Errors
    /// It is refused.
    pub async fn devtools(&self, command: &str, params: &Value) -> Result<Value> {
        self.tell(Method::POST, "/goog/cdp/execute", Some(&json!({"cmd": command, "params": params}))).await
    }

    /// The size of the page in CSS pixels, as on a device that is this wide, and its colour scheme (`light`, `dark`).
    ///
    /// # Errors
    /// It is refused.
    pub async fn device(&self, (width, height): (u32, u32), scheme: &str) -> Result<()> {
        let phone = width < 600;
        let size = json!({"width": width, "height": height, "deviceScaleFactor": if phone { 2 } else { 1 }, "mobile": phone});
        self.devtools("Emulation.setDeviceMetricsOverride", &size).await?;
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", &media).await.map(drop)
    }

    /// Makes the tab hidden, or visible again.
    ///
    /// # Errors
    /// It is refused.
    pub async fn hide(&self, hidden: bool) -> Result<()> {
        if hidden {
            self.tell(Method::POST, "/window/minimize", Some(&json!({}))).await?;
        } else {
            self.tell(Method::POST, "/window/rect", Some(&json!({"width": 1200, "height": 900}))).await?;
        }
        wait_until(START, "the tab changes its visibility", async || {
            let seen = self.run("return document.hidden").await?;
            ensure!(seen == hidden, "hidden: {seen}");
            Ok(())
        })
        .await
    }

    /// What the page wrote to its console since the last look, violations of its policy included.
    ///
    /// # Errors
    /// It can not be read.
    pub async fn console(&self) -> Result<Vec<String>> {
        let entries = self.tell(Method::POST, "/se/log", Some(&json!({"type": "browser"}))).await?;
        entries.as_array().context("no log")?.iter().map(|entry| Ok(words(entry, "/message")?.to_owned())).collect()
    }

    /// The addresses that were asked for since the last look, by whatever in the page.
    ///
    /// # Errors
    /// They can not be read.
    pub async fn requests(&self) -> Result<Vec<String>> {
        let entries = self.tell(Method::POST, "/se/log", Some(&json!({"type": "performance"}))).await?;
        let mut urls = Vec::new();
        for entry in entries.as_array().context("no log")? {
            let event: Value = serde_json::from_str(words(entry, "/message")?)?;
            // The browser's own first tab is a page too.
            if words(&event, "/message/method")? == "Network.requestWillBeSent"
                && !words(&event, "/message/params/documentURL")?.starts_with("chrome:")
            {
                urls.push(words(&event, "/message/params/request/url")?.to_owned());
            }
        }
        Ok(urls)
    }

    /// A picture of the whole page as PNG, in the folder `PHASEGATE_SCREENSHOTS`. Without that variable it takes none.
    ///
    /// # Errors
    /// It can not be taken or written.
    pub async fn picture(&self, name: &str) -> Result<()> {
        let Some(folder) = std::env::var_os("PHASEGATE_SCREENSHOTS") else { return Ok(()) };
        let taken = self.devtools("Page.captureScreenshot", &json!({"captureBeyondViewport": true})).await?;
        let png = BASE64_STANDARD.decode(words(&taken, "/data")?)?;
        Ok(std::fs::write(Path::new(&folder).join(format!("{name}.png")), png)?)
    }

    async fn tell(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let mut request = self.http.request(method, format!("{}{path}", self.session));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| self.driver.log())?.json::<Value>().await?;
        let value = answer.get("value").cloned().unwrap_or_default();
        ensure!(value.get("error").is_none_or(Value::is_null), "{path}: {value}");
        Ok(value)
    }
}

fn words<'a>(value: &'a Value, at: &str) -> Result<&'a str> {
    value.pointer(at).and_then(Value::as_str).with_context(|| format!("no {at} in {value}"))
}

/// Nothing but the page: no network of its own, no first-run screens. By the pipe it ends with its driver.
fn arguments(profile: &Path) -> Vec<String> {
    let profile = format!("--user-data-dir={}", profile.display());
    let fixed = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-proxy-server",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--remote-debugging-pipe",
        "--window-size=1200,900",
    ];
    fixed.into_iter().map(str::to_owned).chain([profile]).collect()
}
