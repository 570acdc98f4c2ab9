//! A channel's receiver that returns items in the order of their numbers, whatever the order in which they arrive.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

/// An item and its number. `None` tells that the item is lost, so that nothing waits for it.
pub(super) type Numbered<T> = (u64, Option<T>);

/// Receives numbered items from several threads.
pub(super) struct OrderedReceiver<T> {
    from: Receiver<Numbered<T>>,
    next: u64,
    /// The items that arrived before their turn.
    early: BTreeMap<u64, Option<T>>,
}

impl<T> OrderedReceiver<T> {
    pub(super) const fn new(from: Receiver<Numbered<T>>) -> Self {
        Self { from, next: 0, early: BTreeMap::new() }
    }

    /// Waits for the next item.
    pub(super) fn recv_deadline(&mut self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        loop {
            if let Some(item) = self.take_next() {
                return Ok(item);
            }
            match self.from.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((number, item)) => {
                    self.early.insert(number, item);
                }
                Err(error) => match self.early.first_key_value() {
                    // What is missing will not arrive.
                    Some((first, _)) if error == RecvTimeoutError::Disconnected => self.next = *first,
                    _ => return Err(error),
                },
            }
        }
    }

    /// Returns the next item if it has arrived.
    pub(super) fn try_recv(&mut self) -> Option<T> {
        loop {
            if let Some(item) = self.take_next() {
                return Some(item);
            }
            let (number, item) = self.from.try_recv().ok()?;
            self.early.insert(number, item);
        }
    }

    fn take_next(&mut self) -> Option<T> {
        while let Some(item) = self.early.remove(&self.next) {
            self.next += 1;
            if item.is_some() {
                return item;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn items_are_received_in_the_order_of_their_numbers() {
        let (sender, from) = channel();
        let mut receiver = OrderedReceiver::new(from);
        for (number, item) in [(2, Some('c')), (1, None), (5, Some('f')), (3, Some('d'))] {
            sender.send((number, item)).unwrap();
        }
        assert_eq!(receiver.try_recv(), None, "0 is missing");
        assert_eq!(receiver.recv_deadline(Instant::now()), Err(RecvTimeoutError::Timeout));
        sender.send((0, Some('a'))).unwrap();
        assert_eq!(receiver.recv_deadline(Instant::now()), Ok('a'));
        assert_eq!(receiver.try_recv(), Some('c'), "1 is lost");
        assert_eq!(receiver.try_recv(), Some('d'));
        assert_eq!(receiver.try_recv(), None);
        drop(sender);
        assert_eq!(receiver.recv_deadline(Instant::now()), Ok('f'), "4 will not arrive");
        assert_eq!(receiver.recv_deadline(Instant::now()), Err(RecvTimeoutError::Disconnected));
    }
}
