//! What the cases share: a provider on a bench, with a clock to turn and an engine to look into.

use std::sync::Arc;
use std::time::Duration;

use eventstore_abstractions::{
    AppendOptions, Appended, Clock, ContentType, Database, Durability, Error, EventLog, EventLogExt,
    EventMessage, EventStore, EventStoreProvider, EventStoreProviderExt, ExpectedVersion, LogReadOptions,
    OpenOptions, Payload, ReadOptions, RecordedEvent, Result, Settings, StreamId, Version,
};
use kv_core::{Bytes, Entry, KeyValueStore, Scan};

use super::ProviderHarness;
use super::meter::Meter;
use super::shared_engine::Shared;
use crate::clock::ManualClock;
use crate::fault::FaultStore;

/// Session time-out of the default settings.
pub(super) const SESSION: Duration = Duration::from_secs(60);
/// Open time-out of the default settings.
pub(super) const OPEN: Duration = Duration::from_secs(5);
/// The smallest step of the clock.
pub(super) const TICK: Duration = Duration::from_micros(1);
/// Tries until an effect in the background is taken for missing. Each try is a commit, so that time
/// passes.
const MAX_TRIES: usize = 500;

/// A provider over an engine that counts and fails on demand, with a clock that is moved by hand.
pub(super) struct Bench<'a> {
    harness: &'a dyn ProviderHarness,
    settings: Settings,
    pub(super) clock: Arc<ManualClock>,
    /// The engine beneath the provider. What is done through its `inner` is neither counted nor failed.
    pub(super) engine: Arc<FaultStore>,
    pub(super) meter: Arc<Meter>,
    pub(super) provider: Arc<dyn EventStoreProvider>,
    /// The log of the default database.
    pub(super) log: Arc<dyn EventLog>,
}

impl<'a> Bench<'a> {
    /// A provider with the default settings at an empty location.
    pub(super) async fn open(harness: &'a dyn ProviderHarness) -> Self {
        Self::open_with(harness, Settings::default()).await
    }

    pub(super) async fn open_with(harness: &'a dyn ProviderHarness, settings: Settings) -> Self {
        let engine = open_engine(harness).await;
        Self::over(harness, settings, Arc::new(ManualClock::new()), engine)
            .await
            .expect("a provider opens over an engine that opens")
    }

    /// Two providers over one engine that says that it is shared, each with a clock and faults of
    /// its own, as if each were in a process of its own.
    pub(super) async fn pair(harness: &'a dyn ProviderHarness) -> (Self, Self) {
        let engine = harness.engine().await.expect("the harness opens an engine");
        let engine: Arc<dyn KeyValueStore> = Arc::new(Shared(engine));
        let mut benches = Vec::new();
        for _ in 0..2 {
            let (clock, engine) = (Arc::new(ManualClock::new()), FaultStore::new(Arc::clone(&engine)));
            let bench = Self::over(harness, Settings::default(), clock, engine).await;
            benches.push(bench.expect("a provider opens over an engine that is shared"));
        }
        let second = benches.pop().expect("two were opened");
        (benches.pop().expect("two were opened"), second)
    }

    async fn over(
        harness: &'a dyn ProviderHarness,
        settings: Settings,
        clock: Arc<ManualClock>,
        engine: Arc<FaultStore>,
    ) -> Result<Self> {
        let meter = Meter::new(Arc::clone(&engine) as Arc<dyn KeyValueStore>);
        let beneath = Arc::clone(&meter) as Arc<dyn KeyValueStore>;
        let time = Arc::clone(&clock) as Arc<dyn Clock>;
        let provider = harness.provider(beneath, settings.clone(), time).await?;
        let log = provider.default_log();
        Ok(Self {
            harness,
            settings,
            clock,
            engine,
            meter,
            provider,
            log,
        })
    }

    /// A log to append through while the next read of this bench is to fail. Where the engine is shared an
    /// append reads first, and is done by another provider, without faults.
    pub(super) async fn unfailing_log(&self) -> Arc<dyn EventLog> {
        if !self.engine.capabilities().shared {
            return Arc::clone(&self.log);
        }
        let (engine, clock) = (Arc::clone(self.engine.inner()), Arc::clone(&self.clock));
        let other = self.harness.provider(engine, self.settings.clone(), clock).await;
        other
            .expect("a provider opens over an engine that is shared")
            .default_log()
    }

    /// Closes the provider and opens another at the same location. An engine that keeps nothing
    /// stays open, and loses only its provider.
    pub(super) async fn restart(self) -> Self {
        if !self.engine.capabilities().durable {
            return self.crash().await;
        }
        self.provider.close().await.expect("the provider closes");
        let Self {
            harness,
            settings,
            clock,
            ..
        } = self;
        let engine = open_engine(harness).await;
        Self::over(harness, settings, clock, engine)
            .await
            .expect("the provider opens again")
    }

    /// This bench once the engine has every record: what can be derived from the log may have been put off.
    pub(super) async fn settled(self) -> Self {
        let capabilities = self.engine.capabilities();
        if capabilities.durable && !capabilities.shared {
            self.restart().await
        } else {
            self
        }
    }

    /// The same with other settings from now on.
    pub(super) async fn restart_with(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self.restart().await
    }

    /// Drops the provider without closing it, and opens another over the engine as it is.
    pub(super) async fn crash(self) -> Self {
        self.try_crash().await.expect("the provider opens again")
    }

    pub(super) async fn try_crash(self) -> Result<Self> {
        let Self {
            harness,
            settings,
            clock,
            engine,
            meter,
            provider,
            log,
        } = self;
        drop((meter, provider, log));
        Self::over(harness, settings, clock, engine).await
    }

    /// Appends `count` events to `stream` in the default database.
    pub(super) async fn append(&self, stream: &StreamId, count: usize) -> Appended {
        append(&*self.log, stream, count).await
    }

    /// Appends one event with `text` as its payload.
    pub(super) async fn note(&self, stream: &StreamId, text: &str) -> Appended {
        let appended = self.log.append(stream, ExpectedVersion::Any, [event(text)]).await;
        appended.expect("an event is appended")
    }

    /// This bench with `count` small events in `stream`, appended in few commits and not waiting
    /// for the disk.
    pub(super) async fn filled(self, stream: &StreamId, count: usize) -> Self {
        let options = AppendOptions::default().durability(Durability::Buffered);
        for part in numbered(count).chunks(500) {
            let appended = self.log.append_with(stream, part.to_vec(), options).await;
            appended.expect("events are appended");
        }
        self.meter.take();
        self
    }

    /// The log of another provider over the same engine, which has nothing in memory yet.
    pub(super) async fn another_log(&self) -> Result<Arc<dyn EventLog>> {
        let engine = Arc::clone(&self.engine) as Arc<dyn KeyValueStore>;
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let provider = self
            .harness
            .provider(engine, self.settings.clone(), clock)
            .await?;
        Ok(provider.default_log())
    }

    /// Stores a snapshot of `stream` at `version`.
    pub(super) async fn snapshot(&self, stream: &StreamId, version: u64) {
        let taken = self
            .log
            .snapshot(stream, Version::new(version), state(version))
            .await;
        taken.expect("a snapshot is stored");
    }

    /// A session on `stream` with the default settings.
    pub(super) async fn session(&self, stream: &StreamId) -> Box<dyn EventStore> {
        self.provider.open(stream).await.expect("the stream is free")
    }

    /// Tries to open a session on `stream` without waiting.
    pub(super) async fn try_session(&self, stream: &StreamId) -> Result<Box<dyn EventStore>> {
        let options = OpenOptions::default().open_timeout(Duration::ZERO);
        self.provider
            .open_with(self.log.database(), stream, options)
            .await
    }

    /// A session on `stream`, which somebody gives up in the background about now.
    pub(super) async fn session_soon(&self, stream: &StreamId) -> Box<dyn EventStore> {
        for _ in 0..MAX_TRIES {
            match self.try_session(stream).await {
                Ok(store) => return store,
                Err(_) => drop(self.append(&stream_id("meanwhile"), 1).await),
            }
        }
        panic!("{stream} was not released while {MAX_TRIES} events were appended elsewhere");
    }

    /// Every event of `stream` in the default database.
    pub(super) async fn events(&self, stream: &StreamId) -> Vec<RecordedEvent> {
        events(&*self.log, stream).await
    }

    /// The log of the default database, from its beginning.
    pub(super) async fn all(&self) -> Vec<RecordedEvent> {
        all(&*self.log).await
    }

    /// The log of another database.
    pub(super) fn database(&self, name: &str) -> Arc<dyn EventLog> {
        self.provider.log(&Database::new(name).expect("a valid name"))
    }

    /// Everything that the engine holds.
    pub(super) async fn dump(&self) -> Vec<Entry> {
        dump(&**self.engine.inner()).await
    }

    /// `wanted`, or as many small events as surely fit into one commit of the engine.
    pub(super) fn many_events(&self, wanted: usize) -> usize {
        /// More than an event of the suite takes: what is promised of bytes, and of operations.
        const EVENT_BYTES: usize = 4 << 10;
        const EVENT_OPERATIONS: usize = 4;
        let limits = self.engine.capabilities();
        wanted
            .min(limits.max_batch_bytes / EVENT_BYTES)
            .min(limits.max_batch_operations / EVENT_OPERATIONS)
    }

    /// The largest value that the engine accepts.
    pub(super) fn max_value_bytes(&self) -> usize {
        self.engine.capabilities().max_value_bytes
    }
}

async fn open_engine(harness: &dyn ProviderHarness) -> Arc<FaultStore> {
    FaultStore::new(harness.engine().await.expect("the harness opens an engine"))
}

pub(super) async fn dump(engine: &dyn KeyValueStore) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut next = Some(Scan::range(Bytes::new(), Bytes::new()));
    while let Some(scan) = next {
        let page = engine.scan(scan).await.expect("the engine is read");
        entries.extend(page.entries);
        next = page.next;
    }
    entries
}

pub(super) async fn append(log: &dyn EventLog, stream: &StreamId, count: usize) -> Appended {
    let appended = log.append(stream, ExpectedVersion::Any, numbered(count)).await;
    appended.expect("events are appended")
}

pub(super) async fn events(log: &dyn EventLog, stream: &StreamId) -> Vec<RecordedEvent> {
    let replay = log
        .read_stream(stream, ReadOptions::replay().without_snapshots())
        .await
        .expect("the stream is read");
    replay.events.collect().await.expect("the events are read")
}

pub(super) async fn all(log: &dyn EventLog) -> Vec<RecordedEvent> {
    let events = log.read_all(LogReadOptions::forward());
    events.collect().await.expect("the log is read")
}

/// The stream `id` of the category `case`.
pub(super) fn stream_id(id: &str) -> StreamId {
    StreamId::new("case", id).expect("a valid id")
}

/// An event with `text` as its payload and a new message id.
pub(super) fn event(text: &str) -> EventMessage {
    let payload = Payload::new(ContentType::OCTET_STREAM, text.as_bytes().to_vec());
    EventMessage::new("Noted", payload).expect("a valid type name")
}

/// The state of a stream at `version`.
pub(super) fn state(version: u64) -> EventMessage {
    let payload = Payload::new(ContentType::OCTET_STREAM, format!("state at {version}"));
    EventMessage::new("State", payload).expect("a valid type name")
}

/// An event with a payload of `bytes` bytes.
pub(super) fn sized(bytes: usize) -> EventMessage {
    // Not one value repeated, so that a payload that is cut and padded differs.
    let payload: Vec<u8> = (0..bytes).map(|index| (index % 251) as u8).collect();
    EventMessage::new("Sized", Payload::new(ContentType::OCTET_STREAM, payload)).expect("a valid type name")
}

/// `count` events with the payloads `event 1`, `event 2` …
pub(super) fn numbered(count: usize) -> Vec<EventMessage> {
    (1..=count)
        .map(|number| event(&format!("event {number}")))
        .collect()
}

/// The name of an error's variant, of those that a call of the store can end with while the engine
/// works.
pub(super) fn kind(error: &Error) -> &'static str {
    match error {
        Error::StoreVersionMismatch { .. } => "StoreVersionMismatch",
        Error::StoreNotOpen { .. } => "StoreNotOpen",
        Error::InvalidStoreSession { .. } => "InvalidStoreSession",
        Error::StoreSessionExpired { .. } => "StoreSessionExpired",
        Error::OpenStoreFailed { .. } => "OpenStoreFailed",
        Error::StreamHeld { .. } => "StreamHeld",
        Error::DuplicateIdempotencyId { .. } => "DuplicateIdempotencyId",
        Error::IdempotencyIdNotFound { .. } => "IdempotencyIdNotFound",
        Error::SnapshotVersionNotFound { .. } => "SnapshotVersionNotFound",
        Error::VersionNotFound { .. } => "VersionNotFound",
        Error::StreamDeleted { .. } => "StreamDeleted",
        Error::InvalidInput { .. } => "InvalidInput",
        _ => "another error",
    }
}

/// How an engine fails that has done nothing.
pub(super) fn unavailable() -> kv_core::Error {
    kv_core::Error::unavailable("the disk is busy", "a fault of the suite")
}

/// How an engine fails that may have done it.
pub(super) fn unknown() -> kv_core::Error {
    kv_core::Error::outcome_unknown("the answer was lost", "a fault of the suite")
}

pub(super) fn text(message: &EventMessage) -> String {
    String::from_utf8_lossy(&message.payload.bytes).into_owned()
}

/// The payloads of `events` as texts.
pub(super) fn texts(events: &[RecordedEvent]) -> Vec<String> {
    events.iter().map(|event| text(&event.message)).collect()
}

pub(super) fn versions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.version.get()).collect()
}

pub(super) fn positions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position.get()).collect()
}

/// 1, 2, 3 … `last`.
pub(super) fn up_to(last: u64) -> Vec<u64> {
    (1..=last).collect()
}

/// Asserts that a result is an error of the given form, and gives back the error.
macro_rules! refused {
    ($result:expr, $($pattern:tt)+) => {{
        let error = match $result {
            Ok(value) => panic!("accepted with {value:?}, not refused with {}", stringify!($($pattern)+)),
            Err(error) => error,
        };
        assert!(matches!(error, $($pattern)+), "{error:?} is not {}", stringify!($($pattern)+));
        error
    }};
}

pub(super) use refused;
