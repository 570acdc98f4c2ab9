//! Sends many requests with a fixed concurrency. Every client uses the same code.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

pub type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Runs `get` `count` times in `at_once` tasks of the runtime. Fails if a status is not 200.
pub async fn many<F, G>(count: usize, at_once: usize, get: G) -> Done<()>
where
    F: Future<Output = Done<(u16, usize)>> + Send + 'static,
    G: Fn() -> F + Clone + Send + 'static,
{
    let left = Arc::new(AtomicUsize::new(count));
    let mut tasks = JoinSet::<Done<()>>::new();
    for _ in 0..at_once {
        let (left, get) = (Arc::clone(&left), get.clone());
        tasks.spawn(async move {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            {
                let (status, length) = get().await?;
                if status != 200 || length == 0 {
                    return Err(format!("{status}, {length} bytes").into());
                }
            }
            Ok(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(())
}
