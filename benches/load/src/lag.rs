//! Measures how long a task waits to be run while the runtime is busy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Runs `work` while a thread spawns a task about every millisecond. The delay until such a task runs is the lag of
/// the event loop. Prints it in microseconds: p50, p99, max.
pub async fn during<E>(work: impl Future<Output = Result<(), E>>) -> Result<(), E> {
    let (sender, receiver) = mpsc::channel();
    let over = Arc::new(AtomicBool::new(false));
    let (runtime, stop) = (tokio::runtime::Handle::current(), Arc::clone(&over));
    let sampler = std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let (sender, from) = (sender.clone(), Instant::now());
            runtime.spawn(async move { sender.send(from.elapsed()) });
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let outcome = work.await;
    over.store(true, Ordering::Relaxed);
    sampler.join().expect("the sampling thread ends");
    let mut delays: Vec<Duration> = receiver.try_iter().collect();
    delays.sort_unstable();
    let at = |share: usize| delays.get(delays.len() * share / 100).map_or(0, Duration::as_micros);
    println!("{} {} {}", at(50), at(99), delays.last().map_or(0, Duration::as_micros));
    outcome
}
