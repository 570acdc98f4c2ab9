//! What every URL's request has in common, read from the flags once.

use std::path::Path;

use rungs::detect::Expect;
use rungs::{Context, Jar, Load, RequestBuilder};

use super::args::{Common, View};
use super::cookie_file;
use super::exit::Failure;
use super::settings::{self, HeaderLine};

/// What every URL's request has in common.
pub(crate) struct Plan {
    pub(crate) method: http::Method,
    headers: Vec<HeaderLine>,
    body: Option<Vec<u8>>,
    context: Option<Context>,
    view: View,
    expect: Expect,
}

impl Plan {
    /// Reads the flags, and puts the cookies of files into the jars.
    pub(crate) fn read(args: &Common, jars: &[&Jar]) -> Result<Self, Failure> {
        let mut headers = Vec::new();
        for line in &args.request.headers {
            headers.push(settings::header(line)?);
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
            method: settings::method(&args.request)?,
            headers,
            body: settings::body(&args.request)?,
            context: args.request.context.map(Context::from).or(is_json.then_some(Context::Fetch)),
            view: args.view.clone(),
            expect: settings::expect(&args.judging)?,
        })
    }

    /// Adds all but the method.
    pub(crate) fn add(&self, request: RequestBuilder) -> RequestBuilder {
        let mut request = request.expect(self.expect.clone());
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
        if let Some(selector) = &self.view.wait_for {
            request = request.wait_for(selector);
        }
        let block = self.view.block.iter().map(|name| Load::from(*name));
        request = request.block(block).scroll(self.view.scroll);
        if let Some(form) = self.view.body {
            request = request.body_form(form.into());
        }
        request
    }
}
