//! Connections that wait to be used again.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kv_core::{Error, Result};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::connection::{Connection, Place, Statements};

/// Up to a number of connections of one kind. Each serves one call at a time, in the order in which they ask.
pub(crate) struct Pool<S> {
    place: Arc<Place>,
    idle: Mutex<Vec<Connection<S>>>,
    permits: Semaphore,
    size: u32,
    closed: AtomicBool,
}

/// A connection in use. It goes back when it is dropped, unless it is broken.
///
/// A caller that goes away in the middle of a call leaves it with an answer to come: the next call waits for that, too.
pub(crate) struct Lent<'a, S> {
    pool: &'a Pool<S>,
    connection: Option<Connection<S>>,
    _permit: SemaphorePermit<'a>,
}

impl<S: Statements> Pool<S> {
    pub(crate) fn new(place: Arc<Place>, size: usize) -> Self {
        Self {
            place,
            idle: Mutex::default(),
            permits: Semaphore::new(size),
            size: size as u32,
            closed: AtomicBool::new(false),
        }
    }

    /// Takes a connection that waits, or makes one.
    pub(crate) async fn lend(&self) -> Result<Lent<'_, S>> {
        self.check_open()?;
        let permit = self.permits.acquire().await.map_err(|_| Error::Closed)?;
        let connection = match self.take_idle() {
            Some(connection) => connection,
            None => Connection::open(&self.place).await?,
        };
        Ok(Lent {
            pool: self,
            connection: Some(connection),
            _permit: permit,
        })
    }

    /// One that waits and whose server has not gone away meanwhile, as far as is known.
    fn take_idle(&self) -> Option<Connection<S>> {
        let mut idle = self.idle.lock();
        idle.retain(|connection| !connection.client.is_closed());
        idle.pop()
    }

    /// Most connections at once.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    /// Lets no further call in.
    pub(crate) fn refuse(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Waits for the calls that were let in, does something, and drops all connections.
    pub(crate) async fn drain<T>(&self, last: impl Future<Output = T>) -> T {
        // It fails where another close was here before: then nothing is left to wait for.
        let _all = self.permits.acquire_many(self.size).await;
        let done = last.await;
        self.permits.close();
        self.idle.lock().clear();
        done
    }

    /// A connection for the last call of a close, which has all permits.
    pub(crate) async fn last(&self) -> Result<Connection<S>> {
        match self.take_idle() {
            Some(connection) => Ok(connection),
            None => Connection::open(&self.place).await,
        }
    }
}

impl<S> Lent<'_, S> {
    pub(crate) fn connection(&self) -> &Connection<S> {
        self.connection
            .as_ref()
            .expect("a connection is taken out when it is dropped or broken")
    }

    /// Ends the connection, which is of no use any more.
    pub(crate) fn discard(mut self) {
        self.connection.take();
    }
}

impl<S> Drop for Lent<'_, S> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(|it| !it.client.is_closed()) {
            self.pool.idle.lock().push(connection);
        }
    }
}
