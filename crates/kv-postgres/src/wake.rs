//! Being told of commits: `LISTEN` on a connection of its own.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kv_core::{Error, Result, Watch};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client};

use crate::connection::Place;
use crate::error::of_open;
use crate::tls;

/// Between two tries to get a lost connection back: doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// Listens for all watches of one store.
pub(crate) struct Listener {
    state: Arc<watch::Sender<State>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Grows with whatever may have been committed.
    news: u64,
    closed: bool,
}

impl Listener {
    /// Returns when it listens: what is committed from now on is told.
    pub(crate) async fn start(place: Arc<Place>, channel: String) -> Result<Self> {
        let state = Arc::new(watch::Sender::new(State::default()));
        let line = Line::open(&place, &channel).await?;
        let task = tokio::spawn(listen(place, channel, line, Arc::clone(&state)));
        Ok(Self { state, task })
    }

    pub(crate) fn watch(&self) -> Box<dyn Watch> {
        Box::new(Wakes(self.state.subscribe()))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
        self.state.send_modify(|state| state.closed = true);
    }
}

async fn listen(place: Arc<Place>, channel: String, mut line: Line, state: Arc<watch::Sender<State>>) {
    loop {
        while line.hears().await {
            state.send_modify(|state| state.news += 1);
        }
        line = reconnected(&place, &channel).await;
        // Nobody knows what was missed.
        state.send_modify(|state| state.news += 1);
    }
}

async fn reconnected(place: &Arc<Place>, channel: &str) -> Line {
    let mut pause = FIRST_PAUSE;
    loop {
        match Line::open(place, channel).await {
            Ok(line) => return line,
            Err(error) => tracing::debug!(%error, "cannot listen for commits yet"),
        }
        tokio::time::sleep(pause).await;
        pause = LAST_PAUSE.min(pause * 2);
    }
}

/// A connection that listens.
struct Line {
    /// The connection ends with it.
    _client: Client,
    /// Something for each notification; it ends with the connection.
    notified: mpsc::Receiver<()>,
}

impl Line {
    async fn open(place: &Place, channel: &str) -> Result<Self> {
        let (client, mut connection) = tls::connect(&place.target).await?;
        // One that waits is enough: it stands for all that come meanwhile.
        let (notify, notified) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if matches!(message, AsyncMessage::Notification(_)) {
                    // Full is good enough, and nobody listens any more when it is closed.
                    let _ = notify.try_send(());
                }
            }
        });
        let listen = format!("LISTEN \"{channel}\"");
        let listening = client.batch_execute(&listen).await;
        listening.map_err(|error| of_open(error, &place.target.location))?;
        Ok(Self {
            _client: client,
            notified,
        })
    }

    /// Whether a notification came; if not, the connection is lost.
    async fn hears(&mut self) -> bool {
        self.notified.recv().await.is_some()
    }
}

/// The watch of one reader.
#[derive(Debug)]
struct Wakes(watch::Receiver<State>);

#[async_trait]
impl Watch for Wakes {
    async fn changed(&mut self) -> Result<()> {
        if self.0.borrow().closed {
            return Err(Error::Closed);
        }
        self.0.changed().await.map_err(|_| Error::Closed)?;
        if self.0.borrow().closed {
            return Err(Error::Closed);
        }
        Ok(())
    }
}
