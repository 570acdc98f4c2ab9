//! The requests in flight of a page, and of the workers that it started.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::events::{LoadingEnded, MAX_REQUESTS, RequestWillBeSent, WorkerResponse, parse_event};

/// The requests in flight.
#[derive(Default)]
pub(super) struct Traffic {
    /// By id, with the session of the worker that reports its end. The page reports the request for a worker's script,
    /// and only the worker reports the end of that request.
    in_flight: HashMap<String, Option<String>>,
    /// The sessions of the workers that the page started. Those of child frames do not delay the page.
    workers: HashSet<String>,
    /// When the last request began or ended, or the page reached another state.
    last: Option<Instant>,
}

impl Traffic {
    pub(super) fn begin(&mut self, request: &RequestWillBeSent, now: Instant) {
        self.begin_for(request, None, now);
    }

    fn begin_for(&mut self, request: &RequestWillBeSent, worker: Option<&str>, now: Instant) {
        self.last = Some(now);
        let lasting = matches!(request.kind.as_deref(), Some("EventSource" | "Ping" | "Media" | "Prefetch"));
        if !lasting && self.in_flight.len() < MAX_REQUESTS {
            self.in_flight.insert(request.request_id.clone(), worker.map(str::to_owned));
        }
    }

    pub(super) fn end(&mut self, id: &str, now: Instant) {
        if self.in_flight.remove(id).is_some() {
            self.last = Some(now);
        }
    }

    /// Notes a change of the page's state: it is not idle for a while.
    pub(super) fn touch(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// Forgets the requests and workers of the previous document, which ended with it, without an event.
    pub(super) fn start_document(&mut self, loader: &str, now: Instant) {
        self.in_flight.retain(|id, _| id == loader);
        self.workers.clear();
        self.last = Some(now);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    pub(super) const fn last(&self) -> Option<Instant> {
        self.last
    }

    /// Handles an event of the worker with this session.
    pub(super) fn on_worker_event(&mut self, session: &str, method: &str, params: &str, now: Instant) {
        match method {
            "Network.requestWillBeSent" if self.workers.contains(session) => {
                if let Some(request) = parse_event(params) {
                    self.begin_for(&request, Some(session), now);
                }
            }
            "Network.responseReceived" => {
                if let Some(response) = parse_event::<WorkerResponse>(params) {
                    self.adopt(session, &response.request_id);
                }
            }
            "Network.loadingFinished" | "Network.loadingFailed" => {
                if let Some(ended) = parse_event::<LoadingEnded>(params) {
                    self.adopt(session, &ended.request_id);
                    self.end(&ended.request_id, now);
                }
            }
            _ => {}
        }
    }

    /// Takes over a worker that answers for a request of the page: it is the page's worker.
    fn adopt(&mut self, session: &str, request: &str) {
        if let Some(worker) = self.in_flight.get_mut(request)
            && self.workers.len() < MAX_REQUESTS
        {
            worker.get_or_insert_with(|| session.to_owned());
            self.workers.insert(session.to_owned());
        }
    }

    /// Forgets the requests of a worker that has ended.
    pub(super) fn on_worker_ended(&mut self, session: &str, now: Instant) {
        if self.workers.remove(session) {
            self.in_flight.retain(|_, worker| worker.as_deref() != Some(session));
            self.last = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str) -> String {
        format!(r#"{{"requestId":"{id}","loaderId":"","type":"Fetch"}}"#)
    }

    fn traffic() -> Traffic {
        let mut traffic = Traffic::default();
        traffic.begin(&parse_event(&request("SCRIPT")).unwrap(), Instant::now());
        traffic
    }

    fn tell(traffic: &mut Traffic, session: &str, method: &str, id: &str) {
        traffic.on_worker_event(session, method, &request(id), Instant::now());
    }

    #[test]
    fn a_workers_script_ends_in_the_workers_session_and_its_requests_count() {
        let mut traffic = traffic();
        tell(&mut traffic, "W", "Network.responseReceived", "SCRIPT");
        tell(&mut traffic, "W", "Network.requestWillBeSent", "1");
        tell(&mut traffic, "W", "Network.loadingFinished", "SCRIPT");
        assert!(!traffic.is_empty());
        tell(&mut traffic, "W", "Network.loadingFailed", "1");
        assert!(traffic.is_empty());
    }

    #[test]
    fn a_worker_of_another_page_or_frame_does_not_count() {
        let mut traffic = traffic();
        tell(&mut traffic, "W", "Network.responseReceived", "OTHER");
        tell(&mut traffic, "W", "Network.requestWillBeSent", "1");
        tell(&mut traffic, "W", "Network.loadingFinished", "OTHER");
        traffic.on_worker_ended("W", Instant::now());
        assert_eq!(traffic.in_flight.len(), 1);
    }

    #[test]
    fn the_requests_of_a_worker_end_with_it() {
        let mut traffic = traffic();
        tell(&mut traffic, "W", "Network.responseReceived", "SCRIPT");
        tell(&mut traffic, "W", "Network.requestWillBeSent", "1");
        traffic.on_worker_ended("W", Instant::now());
        assert!(traffic.is_empty());
    }
}
