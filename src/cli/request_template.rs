//! What every URL's request has in common, read from the flags once.

use std::path::Path;

use rungs::detect::Expectation;
use rungs::{Context, CookieJar, RequestBuilder, ResourceKind};

use super::args::{CommonArgs, RenderArgs};
use super::config::{self, HeaderLine};
use super::cookie_file;
use super::exit::Failure;

/// What every URL's request has in common.
pub(crate) struct RequestTemplate {
    pub(crate) method: http::Method,
    headers: Vec<HeaderLine>,
    body: Option<Vec<u8>>,
    context: Option<Context>,
    render: RenderArgs,
    expectation: Expectation,
}

impl RequestTemplate {
    /// Reads the flags, and puts the cookies of files into the jars.
    pub(crate) fn from_args(args: &CommonArgs, jars: &[&CookieJar]) -> Result<Self, Failure> {
        let mut headers = Vec::new();
        for line in &args.request.headers {
            headers.push(config::parse_header(line)?);
        }
        let is_json = args.request.json.is_some();
        let typed = |line: &HeaderLine| matches!(line, HeaderLine::Add(name, _) if name.eq_ignore_ascii_case("content-type"));
        if is_json && !headers.iter().any(typed) {
            headers.push(HeaderLine::Add("content-type".to_owned(), "application/json".to_owned()));
        }
        if let Some(name) = &args.request.user_agent {
            headers.push(HeaderLine::Add("user-agent".to_owned(), name.clone()));
        }
        for text in &args.request.cookies {
            // As curl: with a `=` it is cookies, without one a file of them.
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

    /// Adds all but the method.
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
