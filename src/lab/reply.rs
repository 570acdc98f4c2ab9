//! Responses of the lab's servers.

use bytes::Bytes;

/// A response of a lab server.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) after: AfterReply,
}

/// The action of the server after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterReply {
    KeepOpen,
    Close,
    /// Sends PING, over HTTP/2.
    Ping,
    /// Sends SETTINGS with another window size, over HTTP/2.
    SendSettings,
}

impl Reply {
    /// A response with this status, without headers and body.
    #[must_use]
    pub const fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), after: AfterReply::KeepOpen }
    }

    /// An HTML page.
    #[must_use]
    pub fn html(status: u16, page: impl Into<String>) -> Self {
        Self::status(status).header("content-type", "text/html; charset=utf-8").body(page.into())
    }

    /// JSON text.
    #[must_use]
    pub fn json(status: u16, text: impl Into<String>) -> Self {
        Self::status(status).header("content-type", "application/json").body(text.into())
    }

    /// A redirect.
    #[must_use]
    pub fn redirect(status: u16, location: impl Into<String>) -> Self {
        Self::status(status).header("location", location)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Closes the connection after this response, so that the next request needs a new one. Over HTTP/2, GOAWAY
    /// is sent before the response ends.
    #[must_use]
    pub const fn close_after(mut self) -> Self {
        self.after = AfterReply::Close;
        self
    }

    /// Sends a PING after this response.
    #[must_use]
    pub const fn ping_after(mut self) -> Self {
        self.after = AfterReply::Ping;
        self
    }

    /// Sends SETTINGS with another initial window size after this response.
    #[must_use]
    pub const fn resize_after(mut self) -> Self {
        self.after = AfterReply::SendSettings;
        self
    }
}
