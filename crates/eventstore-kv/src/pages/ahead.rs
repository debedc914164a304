//! Pages that are read on another thread while those before are taken.
//!
//! A job on the blocking pool reads pages as long as there is room for them, and ends when there is none: a reader that is
//! slow holds no thread. Whoever takes a page begins the next job.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use eventstore_abstractions::{Error, Result};
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;

use super::{Pages, Piece};

/// Pages that wait to be taken, at most. With one, reading would wait for each page to be taken.
const MAX_READY: usize = 2;

/// A page, or `None` at the end of a read.
pub(super) type Page = Result<Option<VecDeque<Piece>>>;

/// What is left of a read, and its next pages. Nothing more is read once it is dropped.
pub(super) struct Ahead<P> {
    runtime: Handle,
    shared: Arc<Mutex<Shared<P>>>,
}

struct Shared<P> {
    ready: VecDeque<Page>,
    /// What is left of the read, while no job has it.
    rest: Option<P>,
    /// Who waits for a page.
    waiting: Option<Waker>,
    is_wanted: bool,
}

impl<P: Pages> Ahead<P> {
    /// Begins to read. Without a runtime there is no other thread: what is left of the read comes back.
    pub(super) fn begin(pages: P) -> std::result::Result<Self, P> {
        let Ok(runtime) = Handle::try_current() else {
            return Err(pages);
        };
        let shared = Arc::new(Mutex::new(Shared {
            ready: VecDeque::with_capacity(MAX_READY),
            rest: None,
            waiting: None,
            is_wanted: true,
        }));
        start(&runtime, &shared, pages);
        Ok(Self { runtime, shared })
    }

    /// The next page. After the end, or an error, there is none to wait for.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Page> {
        let mut shared = self.shared.lock();
        let Some(page) = shared.ready.pop_front() else {
            if !shared
                .waiting
                .as_ref()
                .is_some_and(|waiting| waiting.will_wake(context.waker()))
            {
                shared.waiting = Some(context.waker().clone());
            }
            return Poll::Pending;
        };
        let rest = shared.rest.take();
        drop(shared);
        if let Some(rest) = rest {
            start(&self.runtime, &self.shared, rest);
        }
        Poll::Ready(page)
    }
}

impl<P> Drop for Ahead<P> {
    fn drop(&mut self) {
        self.shared.lock().is_wanted = false;
    }
}

/// Starts a job that reads pages until there is no room for more.
fn start<P: Pages>(runtime: &Handle, shared: &Arc<Mutex<Shared<P>>>, pages: P) {
    let job = Job {
        shared: Arc::clone(shared),
        has_ended: false,
    };
    let reading = runtime.clone();
    drop(runtime.spawn_blocking(move || job.run(&reading, pages)));
}

/// It tells who waits when it does not come to its end, because the runtime ends or a read panics.
struct Job<P> {
    shared: Arc<Mutex<Shared<P>>>,
    has_ended: bool,
}

impl<P: Pages> Job<P> {
    fn run(mut self, runtime: &Handle, mut pages: P) {
        while self.shared.lock().is_wanted {
            let page = runtime.block_on(pages.next_page());
            let is_last = !matches!(page, Ok(Some(_)));
            let mut shared = self.shared.lock();
            shared.ready.push_back(page);
            let has_room = shared.ready.len() < MAX_READY;
            if is_last || !has_room {
                shared.rest = (!is_last).then_some(pages);
                self.has_ended = true;
                return tell(shared);
            }
            tell(shared);
        }
        self.has_ended = true;
    }
}

impl<P> Drop for Job<P> {
    fn drop(&mut self) {
        if !self.has_ended {
            let mut shared = self.shared.lock();
            shared.ready.push_back(Err(stopped()));
            tell(shared);
        }
    }
}

/// Wakes who waits, once nothing is locked any more.
fn tell<P>(mut shared: MutexGuard<'_, Shared<P>>) {
    let waiting = shared.waiting.take();
    drop(shared);
    if let Some(waiting) = waiting {
        waiting.wake();
    }
}

fn stopped() -> Error {
    Error::Unavailable {
        reason: "the runtime stopped the read".to_owned(),
        source: None,
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// Gives as many empty pages as it says, then the end, or panics.
    struct Given {
        pages: usize,
        read: Arc<AtomicUsize>,
        panics: bool,
    }

    impl Pages for Given {
        async fn next_page(&mut self) -> Page {
            if self.pages == 0 {
                assert!(!self.panics, "a read that panics");
                return Ok(None);
            }
            self.pages -= 1;
            self.read.fetch_add(1, Ordering::SeqCst);
            Ok(Some(VecDeque::new()))
        }

        fn may_read_ahead(&self) -> bool {
            true
        }
    }

    fn begin(pages: usize, panics: bool) -> (Ahead<Given>, Arc<AtomicUsize>) {
        let read = Arc::new(AtomicUsize::new(0));
        let given = Given {
            pages,
            read: Arc::clone(&read),
            panics,
        };
        let Ok(ahead) = Ahead::begin(given) else {
            panic!("there is a runtime")
        };
        (ahead, read)
    }

    async fn next(ahead: &Ahead<Given>) -> Page {
        poll_fn(|context| ahead.poll(context)).await
    }

    #[tokio::test]
    async fn pages_come_in_order_and_then_the_end() {
        let (ahead, read) = begin(100, false);
        for taken in 1..=100 {
            assert!(next(&ahead).await.expect("a page").is_some());
            assert!((taken..=taken + MAX_READY + 1).contains(&read.load(Ordering::SeqCst)));
        }
        assert!(next(&ahead).await.expect("the end").is_none());
    }

    #[tokio::test]
    async fn reading_stops_when_nobody_takes_pages() {
        let (ahead, read) = begin(100, false);
        while ahead.shared.lock().rest.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(read.load(Ordering::SeqCst), MAX_READY);
        assert!(next(&ahead).await.expect("a page").is_some());
        let shared = Arc::clone(&ahead.shared);
        drop(ahead);
        while Arc::strong_count(&shared) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(
            read.load(Ordering::SeqCst) <= MAX_READY + 2,
            "nothing is read for nobody"
        );
    }

    #[tokio::test]
    async fn read_that_panics_is_an_error() {
        let (ahead, _) = begin(1, true);
        assert!(next(&ahead).await.expect("a page").is_some());
        let error = next(&ahead).await.err().expect("it stopped");
        assert!(matches!(error, Error::Unavailable { .. }));
    }
}
