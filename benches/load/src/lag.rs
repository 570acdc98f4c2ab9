//! Measures how long a task waits to be run while the runtime is busy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Runs `work` while a thread spawns a task about every millisecond. The delay until such a task runs is the lag of
/// the event loop. Prints it in microseconds: p50, p99, max.
pub async fn during<E>(work: impl Future<Output = Result<(), E>>) -> Result<(), E> {
    let (told, late) = mpsc::channel();
    let over = Arc::new(AtomicBool::new(false));
    let (runtime, stop) = (tokio::runtime::Handle::current(), Arc::clone(&over));
    let asking = std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let (told, from) = (told.clone(), Instant::now());
            runtime.spawn(async move { told.send(from.elapsed()) });
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let outcome = work.await;
    over.store(true, Ordering::Relaxed);
    asking.join().expect("the asking thread ends");
    let mut late: Vec<Duration> = late.try_iter().collect();
    late.sort_unstable();
    let at = |share: usize| late.get(late.len() * share / 100).map_or(0, Duration::as_micros);
    println!("{} {} {}", at(50), at(99), late.last().map_or(0, Duration::as_micros));
    outcome
}
