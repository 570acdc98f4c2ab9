//! The open connections of the metrics server: a limited number, of which the oldest idle one makes room for a new one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinHandle;

/// The open connections, the oldest first. Dropping it closes them.
#[derive(Default)]
pub(super) struct Connections(VecDeque<Connection>);

struct Connection {
    task: JoinHandle<()>,
    state: ConnectionState,
}

/// Whether a connection has sent its request.
#[derive(Clone, Default)]
pub(super) struct ConnectionState(Arc<AtomicBool>);

impl ConnectionState {
    /// Marks that the request is complete: the connection is no longer idle.
    pub(super) fn set_requested(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Connections {
    /// Adds a connection that `serve` handles. If there are [`MAX_CONNECTIONS`], closes one first: the oldest that has
    /// not sent its request, else the oldest.
    pub(super) fn add<F>(&mut self, serve: impl FnOnce(ConnectionState) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.retain(|connection| !connection.task.is_finished());
        if self.0.len() >= MAX_CONNECTIONS {
            let is_idle = |connection: &Connection| !connection.state.0.load(Ordering::Relaxed);
            // Dropping it closes it.
            drop(self.0.remove(self.0.iter().position(is_idle).unwrap_or(0)));
        }
        let state = ConnectionState::default();
        let task = tokio::spawn(serve(state.clone()));
        self.0.push_back(Connection { task, state });
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The maximum number of open connections.
pub(super) const MAX_CONNECTIONS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    /// Sends its number when it is dropped.
    struct Report(usize, mpsc::UnboundedSender<usize>);

    impl Drop for Report {
        fn drop(&mut self) {
            let _ = self.1.send(self.0);
        }
    }

    #[tokio::test]
    async fn the_oldest_idle_connection_makes_room() {
        let (sender, mut closed) = mpsc::unbounded_channel();
        let mut open = Connections::default();
        let mut add = |number: usize, has_requested: bool| {
            let report = Report(number, sender.clone());
            open.add(|state| async move {
                let _report = report;
                std::future::pending::<()>().await;
                drop(state);
            });
            if has_requested {
                open.0.back().unwrap().state.set_requested();
            }
        };
        // The first connection waits for its response to be read, the others are silent.
        for number in 0..MAX_CONNECTIONS {
            add(number, number == 0);
        }
        for number in MAX_CONNECTIONS..MAX_CONNECTIONS + 60 {
            add(number, false);
            assert_eq!(closed.recv().await, Some(number - MAX_CONNECTIONS + 1));
        }
        // When all have sent a request, the oldest is closed.
        for number in 0..MAX_CONNECTIONS {
            add(1000 + number, true);
            closed.recv().await.unwrap();
        }
        add(2000, false);
        assert_eq!(closed.recv().await, Some(1000));
        assert_eq!(open.0.len(), MAX_CONNECTIONS);
    }
}
