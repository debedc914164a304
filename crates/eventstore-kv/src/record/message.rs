//! The fields of a message, as events and snapshots have them.
//!
//! They are decoded without copying: texts and payload share the buffer that the engine returned.

use bincode::enc::Encoder;
use bincode::error::EncodeError;
use bincode::{BorrowDecode, Encode};
use bytes::Bytes;
use eventstore_abstractions::{
    ContentType, ContextFields, Database, Error, EventMessage, MessageId, Metadata, Payload, Scope, StreamId,
    Tag, Timestamp, TypeName, Version,
};
use uuid::Uuid;

/// More than the fixed fields of a record and the lengths of its texts can take.
const FIXED_BYTES: usize = 192;
/// More than the length of a scope or a tag takes.
const LENGTH_BYTES: usize = 4;

#[derive(Encode, BorrowDecode)]
pub(super) struct MessageRecord<'a> {
    pub(super) id: [u8; 16],
    type_name: &'a str,
    schema_version: u32,
    created_at: i64,
    context: Option<ContextRecord<'a>>,
    content_type: ContentTypeRecord<'a>,
    payload: &'a [u8],
}

/// Absent in a record where none of it is set, as in most events of a plain application.
#[derive(Encode, BorrowDecode)]
struct ContextRecord<'a> {
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
    tags: Vec<&'a str>,
}

/// The common content types take one byte.
#[derive(Encode, BorrowDecode)]
enum ContentTypeRecord<'a> {
    Json,
    OctetStream,
    Other(&'a str),
}

/// A message to be encoded in place, without a record of it in between.
pub(super) struct Encoded<'a>(pub(super) &'a EventMessage);

impl Encode for Encoded<'_> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        MessageRecord::of(self.0).encode(encoder)
    }
}

/// Not less than the bytes of the record of `message`.
pub(crate) fn message_bytes(message: &EventMessage) -> usize {
    let (said, context) = (&message.metadata.message, &message.metadata.context);
    let texts = said.type_name.as_str().len() + message.payload.content_type.as_str().len();
    let domain = said
        .domain
        .as_ref()
        .map_or(0, |domain| domain.category().len() + domain.id().len());
    let context = if context.is_empty() {
        0
    } else {
        context_bytes(context)
    };
    FIXED_BYTES + texts + domain + context + message.payload.bytes.len()
}

/// Not less than the bytes of the texts of `context`.
fn context_bytes(context: &ContextFields) -> usize {
    let texts = [
        context.partition_id.as_ref().map(Database::as_str),
        context.correlation_id.as_ref().map(AsRef::as_ref),
        context.causation_id.as_ref().map(AsRef::as_ref),
        context.user_id.as_ref().map(AsRef::as_ref),
        context.session_id.as_ref().map(AsRef::as_ref),
        context.idempotency_id.as_ref().map(AsRef::as_ref),
    ];
    let texts = texts.into_iter().flatten().map(str::len);
    let scopes = context.scopes.iter().map(Scope::as_str);
    let tags = context.tags.iter().map(Tag::as_str);
    let labels = scopes.chain(tags).map(|label| label.len() + LENGTH_BYTES);
    texts.chain(labels).sum()
}

impl<'a> MessageRecord<'a> {
    fn of(message: &'a EventMessage) -> Self {
        let said = &message.metadata.message;
        Self {
            id: *said.id.as_uuid().as_bytes(),
            type_name: said.type_name.as_str(),
            schema_version: said.schema_version,
            created_at: said.created_at.as_micros(),
            context: ContextRecord::of(message),
            content_type: ContentTypeRecord::of(&message.payload.content_type),
            payload: &message.payload.bytes,
        }
    }

    /// The message, sharing `buffer`, from which this record was decoded.
    #[inline]
    pub(super) fn decode(self, buffer: &Bytes) -> Result<EventMessage, Error> {
        let share = |text: &str| buffer.slice_ref(text.as_bytes());
        let mut metadata = Metadata::new_at(
            MessageId::from_uuid(Uuid::from_bytes(self.id)),
            TypeName::try_from(share(self.type_name))?,
            Timestamp::from_micros(self.created_at),
        );
        metadata.message.schema_version = self.schema_version;
        if let Some(context) = self.context {
            context.decode(&mut metadata, buffer)?;
        }
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

impl<'a> ContextRecord<'a> {
    fn of(message: &'a EventMessage) -> Option<Self> {
        let (said, context) = (&message.metadata.message, &message.metadata.context);
        if said.domain.is_none() && context.is_empty() {
            return None;
        }
        Some(Self {
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
            tags: context.tags.iter().map(AsRef::as_ref).collect(),
        })
    }

    fn decode(self, metadata: &mut Metadata, buffer: &Bytes) -> Result<(), Error> {
        let share = |text: &str| buffer.slice_ref(text.as_bytes());
        metadata.message.domain = self
            .domain
            .map(|(category, id)| StreamId::new(category, id))
            .transpose()?;
        let context: &mut ContextFields = &mut metadata.context;
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
        context.tags = self
            .tags
            .iter()
            .map(|text| share(text).try_into())
            .collect::<Result<_, _>>()?;
        Ok(())
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
