//! What the lab answers.

use bytes::Bytes;

/// One answer of a lab server.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) after: AfterReply,
}

/// What a server does after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterReply {
    KeepOpen,
    Close,
    /// Sends PING, over HTTP/2.
    Ping,
    /// Sends SETTINGS with another window, over HTTP/2.
    SendSettings,
}

impl Reply {
    /// An answer with this status and nothing else.
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

    /// Ends the connection after this answer, so that the client's next request needs a new one.
    #[must_use]
    pub const fn close_after(mut self) -> Self {
        self.after = AfterReply::Close;
        self
    }

    /// Sends a PING after this answer.
    #[must_use]
    pub const fn ping_after(mut self) -> Self {
        self.after = AfterReply::Ping;
        self
    }

    /// Sends new SETTINGS after this answer: another window for streams.
    #[must_use]
    pub const fn resize_after(mut self) -> Self {
        self.after = AfterReply::SendSettings;
        self
    }
}
