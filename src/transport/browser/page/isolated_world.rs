//! Evaluates expressions in an isolated world of a frame: the page shares its DOM and sees nothing of it.

use std::time::Duration;

use chromiumoxide_cdp::cdp::browser_protocol::page;
use chromiumoxide_cdp::cdp::js_protocol::runtime;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Page;
use super::command::command;
use crate::transport::chromium::error::CdpError;

impl Page {
    /// Returns the value of `expression` in `frame`, which belongs to `session`.
    pub(super) async fn evaluate<T: DeserializeOwned>(
        &self,
        (session, frame): (&str, &str),
        expression: &str,
        limit: Duration,
    ) -> Result<T, CdpError> {
        let value = self.evaluate_in_world((session, frame), expression, true, limit).await?.value;
        serde_json::from_value(value).map_err(CdpError::Unreadable)
    }

    /// Returns the id of the object that is the value of `expression`.
    pub(super) async fn evaluate_object(
        &self,
        at: (&str, &str),
        expression: &str,
        limit: Duration,
    ) -> Result<runtime::RemoteObjectId, CdpError> {
        let object = self.evaluate_in_world(at, expression, false, limit).await?.object_id;
        // The frame has navigated.
        object.ok_or(CdpError::PageClosed)
    }

    async fn evaluate_in_world(
        &self,
        (session, frame): (&str, &str),
        expression: &str,
        return_by_value: bool,
        limit: Duration,
    ) -> Result<RemoteValue, CdpError> {
        let context_id = self.isolated_world((session, frame), limit).await?;
        let evaluate = Evaluate { expression, context_id, return_by_value, silent: true };
        Ok(self.run_in(session, &evaluate, limit).await?.result)
    }

    /// Returns the id of the isolated world of a frame's document.
    pub(super) async fn isolated_world(
        &self,
        (session, frame): (&str, &str),
        limit: Duration,
    ) -> Result<i64, CdpError> {
        let mut create = page::CreateIsolatedWorldParams::new(frame.to_owned());
        // Chromium returns the world of this name, if the document has one.
        create.world_name = Some(WORLD_NAME.to_owned());
        Ok(*self.run_in(session, &create, limit).await?.execution_context_id.inner())
    }
}

const WORLD_NAME: &str = "reader";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Evaluate<'a> {
    expression: &'a str,
    context_id: i64,
    return_by_value: bool,
    silent: bool,
}

/// The result of a call or an expression.
#[derive(Debug, Deserialize)]
pub(super) struct EvaluateReply {
    pub(super) result: RemoteValue,
}

/// A value of the page: a copy of it, or the id of the object.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RemoteValue {
    #[serde(default)]
    pub(super) value: serde_json::Value,
    pub(super) object_id: Option<runtime::RemoteObjectId>,
}

command!(Evaluate<'_>, "Runtime.evaluate", EvaluateReply);
