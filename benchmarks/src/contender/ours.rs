//! EventStores through its whole public API, on the backend that the contender's name ends with.

use std::path::Path;
use std::sync::Arc;

use eventstores::{
    ContentType, Error, EventLog, EventLogExt as _, EventMessage, EventStoreProvider,
    EventStoreProviderExt as _, EventStream, ExpectedVersion, LogReadOptions, Payload, StreamId, Version,
};

use crate::Result;
use crate::contender::{Client, Contender, Outcome, Stored};

pub(crate) struct Ours {
    provider: Arc<dyn EventStoreProvider>,
}

impl Contender for Ours {
    type Client = OurClient;

    async fn open(name: &str, directory: &Path) -> Result<Self> {
        let scheme = name.rsplit('-').next().unwrap_or(name);
        let url = match scheme {
            "memory" => "memory:".to_owned(),
            _ => format!("{scheme}:{}", directory.display()),
        };
        let provider = eventstores::connect(&url).await?;
        Ok(Self { provider })
    }

    fn client(&self) -> Result<OurClient> {
        let log = self.provider.default_log();
        Ok(OurClient { log })
    }

    async fn close(self) -> Result<()> {
        Ok(self.provider.close().await?)
    }
}

pub(crate) struct OurClient {
    log: Arc<dyn EventLog>,
}

impl Client for OurClient {
    async fn append(
        &mut self,
        stream: u64,
        payloads: Vec<Vec<u8>>,
        expected: Option<u64>,
    ) -> Result<Outcome> {
        let expected = expected.map_or(ExpectedVersion::Any, |version| {
            ExpectedVersion::Exact(Version::new(version))
        });
        let events = payloads.into_iter().map(message).collect::<Result<Vec<_>>>()?;
        match self.log.append(&stream_id(stream)?, expected, events).await {
            Ok(appended) => Ok(Outcome::Appended(appended.version.get())),
            Err(Error::StoreVersionMismatch { actual, .. }) => Ok(Outcome::Conflict(Some(actual.get()))),
            Err(error) => Err(error.into()),
        }
    }

    async fn tip(&mut self, stream: u64) -> Result<u64> {
        Ok(self.log.version(&stream_id(stream)?).await?.get())
    }

    async fn read_stream(&mut self, stream: u64, each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        let replay = self.log.read(&stream_id(stream)?).await?;
        drain(replay.events, each).await
    }

    async fn read_all(&mut self, each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        drain(self.log.read_all(LogReadOptions::forward()), each).await
    }
}

async fn drain(mut events: EventStream, mut each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
    while let Some(event) = events.next().await {
        let event = event?;
        each(Stored {
            event_type: event.message.type_name(),
            number: event.version.get(),
            payload: &event.message.payload.bytes,
        });
    }
    Ok(())
}

fn stream_id(stream: u64) -> Result<StreamId> {
    Ok(StreamId::new("bench", stream.to_string())?)
}

fn message(payload: Vec<u8>) -> Result<EventMessage> {
    let payload = Payload::new(ContentType::OCTET_STREAM, payload);
    Ok(EventMessage::new("Measured", payload)?)
}
