//! The records of events and snapshots.
//!
//! They are decoded without copying: texts and payload share the buffer that the engine returned.

use bincode::{BorrowDecode, Encode};
use bytes::Bytes;
use eventstore_abstractions::{
    ContentType, Database, Error, EventMessage, MessageId, Metadata, Payload, Position, RecordedEvent,
    Snapshot, StreamId, Timestamp, TypeName, Version,
};
use uuid::Uuid;

use super::{Damage, open, seal};

/// More than the fixed fields of a record and the lengths of its texts can take.
const FIXED_BYTES: usize = 192;
/// More than the length of a scope takes.
const SCOPE_BYTES: usize = 4;

#[derive(Encode, BorrowDecode)]
struct EventRecord<'a> {
    position: u64,
    recorded_at: i64,
    message: MessageRecord<'a>,
}

#[derive(Encode, BorrowDecode)]
struct SnapshotRecord<'a> {
    taken_at: i64,
    message: MessageRecord<'a>,
}

#[derive(Encode, BorrowDecode)]
struct MessageRecord<'a> {
    id: [u8; 16],
    type_name: &'a str,
    schema_version: u32,
    created_at: i64,
    domain: Option<(&'a str, &'a str)>,
    partition_id: Option<&'a str>,
    correlation_id: Option<&'a str>,
    causation_id: Option<&'a str>,
    user_id: Option<&'a str>,
    user_session_id: Option<&'a str>,
    idempotency_id: Option<&'a str>,
    received_at: Option<i64>,
    sequence_number: Option<u64>,
    scopes: Vec<&'a str>,
    content_type: ContentTypeRecord<'a>,
    payload: &'a [u8],
}

/// The common content types take one byte.
#[derive(Encode, BorrowDecode)]
enum ContentTypeRecord<'a> {
    Json,
    OctetStream,
    Other(&'a str),
}

pub(crate) fn encode_event(
    key: &[u8],
    position: Position,
    recorded_at: Timestamp,
    message: &EventMessage,
) -> Bytes {
    let (position, recorded_at) = (position.get(), recorded_at.as_micros());
    seal(
        key,
        &EventRecord {
            position,
            recorded_at,
            message: MessageRecord::of(message),
        },
    )
}

pub(crate) fn decode_event(
    key: &[u8],
    bytes: &Bytes,
    stream: &StreamId,
    version: Version,
) -> Result<RecordedEvent, Error> {
    let event = open::<EventRecord<'_>>(key, bytes).and_then(|record| {
        let message = record.message.decode(bytes).map_err(Damage::Invalid)?;
        let (position, recorded_at) = (
            Position::new(record.position),
            Timestamp::from_micros(record.recorded_at),
        );
        Ok(RecordedEvent::new(
            stream.clone(),
            version,
            position,
            recorded_at,
            message,
        ))
    });
    event.map_err(|damage| damage.of(key))
}

pub(crate) fn encode_snapshot(key: &[u8], taken_at: Timestamp, message: &EventMessage) -> Bytes {
    seal(
        key,
        &SnapshotRecord {
            taken_at: taken_at.as_micros(),
            message: MessageRecord::of(message),
        },
    )
}

pub(crate) fn decode_snapshot(key: &[u8], bytes: &Bytes, version: Version) -> Result<Snapshot, Error> {
    let snapshot = open::<SnapshotRecord<'_>>(key, bytes).and_then(|record| {
        let message = record.message.decode(bytes).map_err(Damage::Invalid)?;
        Ok(Snapshot::new(
            version,
            Timestamp::from_micros(record.taken_at),
            message,
        ))
    });
    snapshot.map_err(|damage| damage.of(key))
}

/// Not less than the bytes of the record of `message`.
pub(crate) fn message_bytes(message: &EventMessage) -> usize {
    let (said, context) = (&message.metadata.message, &message.metadata.context);
    let texts = [
        Some(said.type_name.as_str()),
        said.domain.as_ref().map(StreamId::category),
        said.domain.as_ref().map(StreamId::id),
        context.partition_id.as_ref().map(AsRef::as_ref),
        context.correlation_id.as_ref().map(AsRef::as_ref),
        context.causation_id.as_ref().map(AsRef::as_ref),
        context.user_id.as_ref().map(AsRef::as_ref),
        context.session_id.as_ref().map(AsRef::as_ref),
        context.idempotency_id.as_ref().map(AsRef::as_ref),
        Some(message.payload.content_type.as_str()),
    ];
    let texts = texts.into_iter().flatten().map(str::len).sum::<usize>();
    let scopes = context
        .scopes
        .iter()
        .map(|scope| scope.as_str().len() + SCOPE_BYTES)
        .sum::<usize>();
    FIXED_BYTES + texts + scopes + message.payload.bytes.len()
}

impl<'a> MessageRecord<'a> {
    fn of(message: &'a EventMessage) -> Self {
        let (said, context) = (&message.metadata.message, &message.metadata.context);
        Self {
            id: *said.id.as_uuid().as_bytes(),
            type_name: said.type_name.as_str(),
            schema_version: said.schema_version,
            created_at: said.created_at.as_micros(),
            domain: said
                .domain
                .as_ref()
                .map(|stream| (stream.category(), stream.id())),
            partition_id: context.partition_id.as_ref().map(AsRef::as_ref),
            correlation_id: context.correlation_id.as_ref().map(AsRef::as_ref),
            causation_id: context.causation_id.as_ref().map(AsRef::as_ref),
            user_id: context.user_id.as_ref().map(AsRef::as_ref),
            user_session_id: context.session_id.as_ref().map(AsRef::as_ref),
            idempotency_id: context.idempotency_id.as_ref().map(AsRef::as_ref),
            received_at: context.received_at.map(Timestamp::as_micros),
            sequence_number: context.sequence_number.map(Version::get),
            scopes: context.scopes.iter().map(AsRef::as_ref).collect(),
            content_type: ContentTypeRecord::of(&message.payload.content_type),
            payload: &message.payload.bytes,
        }
    }

    /// The message, sharing `buffer`, from which this record was decoded.
    fn decode(self, buffer: &Bytes) -> Result<EventMessage, Error> {
        let share = |text: &str| buffer.slice_ref(text.as_bytes());
        let mut metadata = Metadata::new_at(
            MessageId::from_uuid(Uuid::from_bytes(self.id)),
            TypeName::try_from(share(self.type_name))?,
            Timestamp::from_micros(self.created_at),
        );
        metadata.message.schema_version = self.schema_version;
        metadata.message.domain = self
            .domain
            .map(|(category, id)| StreamId::from_bytes(share(category), share(id)))
            .transpose()?;
        let context = &mut metadata.context;
        context.partition_id = self
            .partition_id
            .map(|text| Database::try_from(share(text)))
            .transpose()?;
        context.correlation_id = self
            .correlation_id
            .map(|text| share(text).try_into())
            .transpose()?;
        context.causation_id = self.causation_id.map(|text| share(text).try_into()).transpose()?;
        context.user_id = self.user_id.map(|text| share(text).try_into()).transpose()?;
        context.session_id = self
            .user_session_id
            .map(|text| share(text).try_into())
            .transpose()?;
        context.idempotency_id = self
            .idempotency_id
            .map(|text| share(text).try_into())
            .transpose()?;
        context.received_at = self.received_at.map(Timestamp::from_micros);
        context.sequence_number = self.sequence_number.map(Version::new);
        context.scopes = self
            .scopes
            .iter()
            .map(|text| share(text).try_into())
            .collect::<Result<_, _>>()?;
        let content_type = match self.content_type {
            ContentTypeRecord::Json => ContentType::JSON,
            ContentTypeRecord::OctetStream => ContentType::OCTET_STREAM,
            ContentTypeRecord::Other(text) => share(text).try_into()?,
        };
        Ok(EventMessage {
            payload: Payload::new(content_type, buffer.slice_ref(self.payload)),
            metadata,
        })
    }
}

impl<'a> ContentTypeRecord<'a> {
    fn of(content_type: &'a ContentType) -> Self {
        if *content_type == ContentType::JSON {
            Self::Json
        } else if *content_type == ContentType::OCTET_STREAM {
            Self::OctetStream
        } else {
            Self::Other(content_type.as_str())
        }
    }
}
