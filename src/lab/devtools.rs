//! User actions in a browser, sent over its debugging pipe (CDP).

use std::time::Duration;

use chromiumoxide_types::{Command, Method, MethodId};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::transport::chromium::connection::CdpConnection;

const REPLY_TIMEOUT: Duration = Duration::from_secs(30);
const START: Duration = Duration::from_secs(120);
/// From the request to the response headers.
const NAVIGATION: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(30);

/// The debugging pipe. No CDP domain is enabled, so the browser's traffic is unmodified.
pub(super) struct DevTools(CdpConnection);

/// A command by its name.
#[derive(Serialize)]
#[serde(transparent)]
struct NamedCommand {
    params: Value,
    #[serde(skip)]
    method: &'static str,
}

impl Method for NamedCommand {
    fn identifier(&self) -> MethodId {
        self.method.into()
    }
}

impl Command for NamedCommand {
    type Response = Value;
}

/// One open tab.
pub(super) struct Tab {
    target: String,
    session: String,
}

impl DevTools {
    pub(super) const fn new(connection: CdpConnection) -> Self {
        Self(connection)
    }

    /// Opens `url` in a new tab, as if a user typed it.
    pub(super) async fn open(&mut self, url: &str) -> Result<Tab> {
        let made = self.call(None, "Target.createTarget", json!({ "url": url })).await?;
        let target = text(&made, "targetId")?;
        let to = json!({ "targetId": target, "flatten": true });
        let attached = self.call(None, "Target.attachToTarget", to).await?;
        Ok(Tab { session: text(&attached, "sessionId")?, target })
    }

    /// Opens `url` in a new tab, as if a user typed it, and waits for the start of the response.
    pub(super) async fn navigate_new_tab(&mut self, url: &str) -> Result<()> {
        let tab = self.open("about:blank").await?;
        let result = self.call_within(NAVIGATION, Some(&tab), "Page.navigate", json!({ "url": url })).await?;
        match result["errorText"].as_str() {
            Some(why) => Err(protocol_error(&format!("could not open the page: {}", why.escape_debug()))),
            None => Ok(()),
        }
    }

    /// Waits until the page of the command line exists. A navigation may be dropped while Chromium still
    /// opens its first window.
    pub(super) async fn wait_for_first_page(&mut self) -> Result<()> {
        loop {
            let targets = self.call_within(START, None, "Target.getTargets", json!({})).await?;
            let infos = targets["targetInfos"].as_array().map(Vec::as_slice).unwrap_or_default();
            if infos.iter().any(|info| info["type"] == "page") {
                return Ok(());
            }
            sleep(POLL).await;
        }
    }

    pub(super) async fn reload(&mut self, tab: &Tab) -> Result<()> {
        self.call(Some(tab), "Page.reload", json!({})).await.map(drop)
    }

    pub(super) async fn close(&mut self, tab: Tab) -> Result<()> {
        self.call(None, "Target.closeTarget", json!({ "targetId": tab.target })).await.map(drop)
    }

    /// Waits until the document at `path` is loaded.
    pub(super) async fn wait_loaded(&mut self, tab: &Tab, path: &str) -> Result<()> {
        let end = Instant::now() + REPLY_TIMEOUT;
        let test = format!("document.readyState === 'complete' && location.pathname === {}", json!(path));
        loop {
            // Evaluation fails between two documents.
            match self.evaluate(tab, &test).await {
                Ok(Value::Bool(true)) => return Ok(()),
                Err(error) if Instant::now() > end => return Err(error),
                Ok(_) if Instant::now() > end => {
                    let message = format!("timed out after {REPLY_TIMEOUT:?} waiting for {path} to load");
                    return Err(protocol_error(&message));
                }
                _ => sleep(POLL).await,
            }
        }
    }

    /// Clicks the first link or button with the mouse.
    pub(super) async fn click(&mut self, tab: &Tab) -> Result<()> {
        let position = self
            .evaluate(
                tab,
                "(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector('a, button').getBoundingClientRect())",
            )
            .await?;
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let button = if kind == "mouseMoved" { "none" } else { "left" };
            let event = json!({ "type": kind, "x": position[0], "y": position[1], "button": button, "clickCount": 1 });
            self.call(Some(tab), "Input.dispatchMouseEvent", event).await?;
        }
        Ok(())
    }

    /// The value of an expression. Awaits a promise.
    pub(super) async fn evaluate(&mut self, tab: &Tab, expression: &str) -> Result<Value> {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call(Some(tab), "Runtime.evaluate", params).await?;
        Ok(answer["result"]["value"].take())
    }

    pub(super) async fn version(&mut self) -> Result<String> {
        text(&self.call(None, "Browser.getVersion", json!({})).await?, "product")
    }

    async fn call(&mut self, tab: Option<&Tab>, method: &'static str, params: Value) -> Result<Value> {
        self.call_within(REPLY_TIMEOUT, tab, method, params).await
    }

    async fn call_within(
        &mut self,
        limit: Duration,
        tab: Option<&Tab>,
        method: &'static str,
        params: Value,
    ) -> Result<Value> {
        let session = tab.map(|tab| tab.session.as_str());
        let reply = self.0.run(session, &NamedCommand { params, method }, limit).await;
        reply.map_err(|error| protocol_error(&format!("{method} failed")).with_source(error))
    }
}

fn text(value: &Value, key: &str) -> Result<String> {
    value[key].as_str().map(str::to_owned).ok_or_else(|| protocol_error(&format!("the reply lacks {key}")))
}

fn protocol_error(problem: &str) -> Error {
    Error::new(ErrorKind::Browser, format!("Chromium: {problem}"))
}
