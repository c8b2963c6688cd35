//! The async way to the store: one thread owns it, calls queue in a bounded channel.

use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::{Store, StoreError};
use crate::pipeline::capacity;

type Call = Box<dyn FnOnce(&mut Store) + Send>;

/// Cheap to clone; the store closes when the last clone is dropped and [`StoreThread::join`] returns then.
#[derive(Clone, Debug)]
pub struct StoreHandle {
    calls: mpsc::Sender<Call>,
}

/// The thread that owns the store.
#[derive(Debug)]
pub struct StoreThread(JoinHandle<()>);

impl StoreThread {
    /// Waits until the store is closed; every handle must be gone before.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the store's thread panicked");
        }
    }
}

impl StoreHandle {
    /// Moves `store` to a thread of its own.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(mut store: Store) -> std::io::Result<(Self, StoreThread)> {
        let (calls, mut queue) = mpsc::channel::<Call>(capacity::STORE_CALLS);
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || {
            while let Some(call) = queue.blocking_recv() {
                call(&mut store);
            }
        })?;
        Ok((Self { calls }, StoreThread(thread)))
    }

    /// Runs `work` on the store's thread and returns what it returned. Work that was queued is done even if the
    /// caller stops waiting.
    ///
    /// # Errors
    /// Those of `work`; [`StoreError::Gone`] when the thread has ended.
    pub async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, result) = oneshot::channel();
        let call: Call = Box::new(move |store| {
            // The caller may have stopped waiting; the work is done all the same.
            let result = store.check_place().and_then(|()| work(store));
            store.note(&result);
            let _ = answer.send(result);
        });
        self.calls.send(call).await.map_err(|_| StoreError::Gone)?;
        result.await.map_err(|_| StoreError::Gone)?
    }
}
