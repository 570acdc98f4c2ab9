//! The request settings that all URLs of a command share.

use std::path::Path;
use std::sync::Arc;

use rungs::detect::Expectation;
use rungs::{
    ClientCertificate, Context, CookieJar, HttpVersion, RequestBody, RequestBuilder, ResourceKind, Secret,
};

use super::args::{AuthenticationArgs, CommonArgs, RenderArgs};
use super::client_certificate;
use super::config::{self, HeaderLine};
use super::cookie_file;
use super::exit::Failure;
use super::request_body;

/// User and password of `-u`.
enum Authentication {
    None,
    Basic(String, Secret),
    Digest(String, Secret),
}

/// Request settings that are read from the arguments once and applied to every URL.
pub(crate) struct RequestTemplate {
    pub(crate) method: http::Method,
    headers: Vec<HeaderLine>,
    body: Option<RequestBody>,
    authentication: Authentication,
    certificate: Option<Arc<ClientCertificate>>,
    only_http1: bool,
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
            body: request_body::read(&args.request)?,
            authentication: authentication(&args.request.authentication),
            certificate: client_certificate::read(&args.request.authentication)?,
            only_http1: args.request.authentication.http1,
            context: args.request.context.map(Context::from).or(is_json.then_some(Context::Fetch)),
            render: args.render.clone(),
            expectation: config::expectation(&args.verdict)?,
        })
    }

    /// Whether `-H` and the like set a header.
    pub(crate) fn has_header(&self, name: &str) -> bool {
        self.headers
            .iter()
            .any(|line| matches!(line, HeaderLine::Add(own, _) if own.eq_ignore_ascii_case(name)))
    }

    /// Removes the body, which is sent in another form.
    pub(crate) fn without_body(mut self) -> Self {
        self.body = None;
        self
    }

    /// Whether an argument sets the context.
    pub(crate) const fn has_context(&self) -> bool {
        self.context.is_some()
    }

    /// Applies all settings except the method.
    pub(crate) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        let mut request = request.expect(self.expectation.clone());
        if let Some(body) = &self.body {
            request = request.request_body(body.clone());
        }
        if self.only_http1 {
            request = request.http_version(HttpVersion::Http11);
        }
        if let Some(certificate) = &self.certificate {
            request = request.client_certificate(Arc::clone(certificate));
        }
        // A header of the caller takes precedence.
        let has_own = self.has_header("authorization");
        request = match &self.authentication {
            Authentication::Basic(user, password) if !has_own => request.basic_auth(user, password),
            Authentication::Digest(user, password) if !has_own => request.digest_auth(user, password.clone()),
            _ => request,
        };
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

/// Returns user and password. The prompt has added the password of a user without one.
fn authentication(args: &AuthenticationArgs) -> Authentication {
    let Some(text) = &args.user else { return Authentication::None };
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let (user, password) = (user.to_owned(), Secret::new(password));
    if args.digest { Authentication::Digest(user, password) } else { Authentication::Basic(user, password) }
}
