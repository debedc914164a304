//! Reads recorded events back as the types of an event set.

use std::marker::PhantomData;

use crate::typed::{EventSet, Json, PayloadCodec};
use crate::{Error, EventMessage, Result};

/// What a decoder does with an event whose type, at its schema version, is not in the set.
///
/// See [`Decoder`] for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UnknownTypes {
    /// It is an error that names the type. A state that left out an event unnoticed would be wrong.
    #[default]
    Fail,
    /// The event is left out.
    Skip,
    /// The event is given as its message.
    KeepRaw,
}

/// An event as it was decoded.
///
/// See [`Decoder`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<E> {
    /// An event of the set.
    Event(E),
    /// An event of an unknown type, kept as it is: see [`UnknownTypes::KeepRaw`].
    Raw(Box<EventMessage>),
}

impl<E> Decoded<E> {
    /// The event, unless it is raw.
    #[must_use]
    pub fn event(self) -> Option<E> {
        match self {
            Self::Event(event) => Some(event),
            Self::Raw(_) => None,
        }
    }
}

/// Reads messages as the events of the set `E`, by the codec `C`.
///
/// ```
/// use eventstore_abstractions::EventMessage;
/// use eventstore_abstractions::typed::{Decoded, Decoder, DomainEvent, Json, UnknownTypes};
/// # use serde::{Deserialize, Serialize};
///
/// # #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Opened;
/// # impl DomainEvent for Opened { const TYPE_NAME: &'static str = "Opened"; }
/// let opened = EventMessage::of(&Opened)?;
/// let unknown = EventMessage::json("Frozen", &())?;
///
/// // A state is made of every event: an unknown one is an error.
/// let decoder = Decoder::<Opened>::new();
/// assert_eq!(decoder.decode_event(&opened)?, Opened);
/// assert!(decoder.decode_event(&unknown).is_err());
///
/// // A list of certain events leaves out the others.
/// let decoder = Decoder::<Opened>::new().unknown_types(UnknownTypes::Skip);
/// let events = [&opened, &unknown].map(|message| decoder.decode(message));
/// let events = events.into_iter().filter_map(|decoded| decoded.ok()?.and_then(Decoded::event));
/// assert_eq!(events.collect::<Vec<_>>(), [Opened]);
///
/// // An export passes on what it does not know. Another codec than JSON is named.
/// let decoder = Decoder::<Opened, _>::with_codec(Json).unknown_types(UnknownTypes::KeepRaw);
/// assert!(matches!(decoder.decode(&unknown)?, Some(Decoded::Raw(message)) if *message == unknown));
/// # Ok::<(), eventstore_abstractions::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Decoder<E, C = Json> {
    codec: C,
    unknown_types: UnknownTypes,
    set: PhantomData<fn() -> E>,
}

impl<E: EventSet> Decoder<E, Json> {
    /// A decoder of JSON payloads to which an unknown type is an error.
    #[must_use]
    pub fn new() -> Self {
        Self::with_codec(Json)
    }
}

impl<E: EventSet> Default for Decoder<E, Json> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: EventSet, C: PayloadCodec> Decoder<E, C> {
    /// A decoder of payloads that `codec` wrote, to which an unknown type is an error.
    #[must_use]
    pub fn with_codec(codec: C) -> Self {
        Self {
            codec,
            unknown_types: UnknownTypes::Fail,
            set: PhantomData,
        }
    }

    /// Sets what happens with an event of an unknown type.
    #[must_use]
    pub fn unknown_types(self, unknown_types: UnknownTypes) -> Self {
        Self {
            unknown_types,
            ..self
        }
    }

    /// The event of `message`; `None` when it is of an unknown type that is to be skipped.
    ///
    /// # Errors
    /// [`Error::UnknownEventType`] when it is of an unknown type and that is an error;
    /// [`Error::PayloadCodec`] when the payload of a known type cannot be read.
    pub fn decode(&self, message: &EventMessage) -> Result<Option<Decoded<E>>> {
        if let Some(event) = E::decode(&self.codec, message)? {
            return Ok(Some(Decoded::Event(event)));
        }
        match self.unknown_types {
            UnknownTypes::Fail => Err(unknown(message)),
            UnknownTypes::Skip => Ok(None),
            UnknownTypes::KeepRaw => Ok(Some(Decoded::Raw(Box::new(message.clone())))),
        }
    }

    /// The event of `message`. An unknown type is an error, whatever else was set: for code that needs
    /// every event.
    ///
    /// # Errors
    /// [`Error::UnknownEventType`] when it is of an unknown type; [`Error::PayloadCodec`] when the
    /// payload cannot be read.
    pub fn decode_event(&self, message: &EventMessage) -> Result<E> {
        E::decode(&self.codec, message)?.ok_or_else(|| unknown(message))
    }
}

fn unknown(message: &EventMessage) -> Error {
    let said = &message.metadata.message;
    Error::UnknownEventType {
        type_name: said.type_name.clone(),
        schema_version: said.schema_version,
    }
}
