//! Sends a request with a method or body of the caller again, after a challenge was the answer to it.

use super::paused_response::{RequestContent, SentDocument};
use super::scheduled::without_fragment;
use super::state::PageState;

impl PageState {
    /// Takes the caller's method and body for the document request of `url`. A request that is repeated goes to the same
    /// URL as before.
    pub(super) fn take_content(&mut self, loader: Option<&str>, url: &str) -> Option<RequestContent> {
        let url = without_fragment(url);
        if self.sent_document.as_ref().is_some_and(|sent| sent.url != url) {
            return None;
        }
        let content = self.rules.first_request.take()?;
        let loader_id = loader.unwrap_or_default().to_owned();
        self.sent_document = Some(SentDocument { loader_id, url: url.to_owned(), content: content.clone() });
        Some(content)
    }

    /// Whether this document answers a request with the caller's method and body.
    pub(in super::super) fn is_sent_document(&self, loader: &str) -> bool {
        self.sent_document.as_ref().is_some_and(|sent| sent.loader_id == loader)
    }

    /// Notes that the server has acted on the request: it redirected.
    pub(super) fn forget_sent_document(&mut self, loader: &str) {
        if self.is_sent_document(loader) {
            self.sent_document = None;
        }
    }

    /// Whether the caller's method and body are to be sent again, and no request took them.
    pub(in super::super) const fn has_unsent_content(&self) -> bool {
        self.sent_document.is_some() && self.rules.first_request.is_some()
    }

    /// Lets the next request of the URL have the caller's method and body again, because a challenge was the answer.
    pub(super) fn repeat_request(&mut self) {
        if let Some(sent) = &self.sent_document {
            self.rules.first_request = Some(sent.content.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::InterceptRules;
    use super::*;

    #[test]
    fn a_request_is_repeated_once_per_challenge_and_only_for_its_url() {
        let content = Some(RequestContent {
            method: "POST".to_owned(),
            body: Some("YQ==".to_owned()),
            content_type: None,
        });
        let mut page = PageState::new("F");
        page.rules = InterceptRules { first_request: content.clone(), ..InterceptRules::default() };
        assert_eq!(page.take_content(Some("1"), "http://a/x#top"), content);
        assert!(page.is_sent_document("1") && !page.is_sent_document("2"));
        assert_eq!(page.take_content(Some("2"), "http://a/x"), None, "the site may have acted on it");
        page.repeat_request();
        assert_eq!(page.take_content(Some("3"), "http://a/challenge"), None);
        assert_eq!(page.take_content(Some("4"), "http://a/x"), content);
        assert!(page.is_sent_document("4"));
        page.forget_sent_document("4");
        page.repeat_request();
        assert!(!page.has_unsent_content(), "the server has acted on it");
        assert_eq!(page.take_content(Some("5"), "http://a/x"), None);
    }
}
