//! The request settings that all URLs of a command share.

use std::path::Path;

use rungs::detect::Expectation;
use rungs::{Context, CookieJar, RequestBuilder, ResourceKind};

use super::args::{CommonArgs, RenderArgs};
use super::config::{self, HeaderLine};
use super::cookie_file;
use super::exit::Failure;

/// Request settings that are read from the arguments once and applied to every URL.
pub(crate) struct RequestTemplate {
    pub(crate) method: http::Method,
    headers: Vec<HeaderLine>,
    body: Option<Vec<u8>>,
    context: Option<Context>,
    render: RenderArgs,
    expectation: Expectation,
}

impl RequestTemplate {
    /// Reads the arguments, and the cookies of files into the jars.
    pub(crate) fn from_args(args: &CommonArgs, jars: &[&CookieJar]) -> Result<Self, Failure> {
        let mut headers = Vec::new();
        for line in &args.request.headers {
            headers.push(config::parse_header(line)?);
        }
        let is_json = args.request.json.is_some();
        let is_type = |line: &HeaderLine| matches!(line, HeaderLine::Add(name, _) if name.eq_ignore_ascii_case("content-type"));
        if is_json && !headers.iter().any(is_type) {
            headers.push(HeaderLine::Add("content-type".to_owned(), "application/json".to_owned()));
        }
        if let Some(name) = &args.request.user_agent {
            headers.push(HeaderLine::Add("user-agent".to_owned(), name.clone()));
        }
        for text in &args.request.cookies {
            // Like curl: text with `=` is cookies, text without it names a file.
            if text.contains('=') {
                headers.push(HeaderLine::Add("cookie".to_owned(), text.clone()));
            } else {
                cookie_file::read(Path::new(text), jars)?;
            }
        }
        Ok(Self {
            method: config::method(&args.request)?,
            headers,
            body: config::read_body(&args.request)?,
            context: args.request.context.map(Context::from).or(is_json.then_some(Context::Fetch)),
            render: args.render.clone(),
            expectation: config::expectation(&args.verdict)?,
        })
    }

    /// Applies all settings except the method.
    pub(crate) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        let mut request = request.expect(self.expectation.clone());
        if let Some(body) = &self.body {
            request = request.body(body.clone());
        }
        if let Some(context) = self.context {
            request = request.context(context);
        }
        for line in &self.headers {
            request = match line {
                HeaderLine::Add(name, value) => request.header(name, value),
                HeaderLine::Remove(name) => request.without_header(name),
            };
        }
        if let Some(selector) = &self.render.wait_for {
            request = request.wait_for(selector);
        }
        let block = self.render.block.iter().map(|name| ResourceKind::from(*name));
        request = request.block(block).scroll(self.render.scroll);
        if let Some(form) = self.render.body {
            request = request.body_source(form.into());
        }
        request
    }
}
