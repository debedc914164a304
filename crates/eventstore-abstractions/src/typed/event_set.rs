//! The event types that one stream holds, as an enum.

use crate::typed::{DomainEvent, PayloadCodec};
use crate::{EventMessage, Metadata, Payload, Result, TypeName};

/// The event types that one stream holds, usually an enum made by [`event_set!`](crate::event_set).
///
/// Every [`DomainEvent`] is a set of one type, so that what takes a set takes a single event as well. It is
/// implemented by hand only where an enum needs more than one variant per type.
///
/// ```
/// use eventstore_abstractions::{EventMessage, event_set};
/// use eventstore_abstractions::typed::{DomainEvent, EventSet};
/// # use serde::{Deserialize, Serialize};
///
/// # #[derive(Serialize, Deserialize)]
/// struct Opened;
/// # impl DomainEvent for Opened { const TYPE_NAME: &'static str = "Opened"; }
/// # #[derive(Serialize, Deserialize)]
/// struct Closed;
/// # impl DomainEvent for Closed { const TYPE_NAME: &'static str = "Closed"; }
/// event_set! {
///     enum AccountEvent { Opened, Closed }
/// }
///
/// assert_eq!(AccountEvent::TYPE_NAMES, ["Opened", "Closed"]);
/// assert_eq!(EventMessage::of(&AccountEvent::Opened(Opened))?.type_name(), "Opened");
/// assert_eq!(EventMessage::of(&Opened)?.type_name(), "Opened");
/// # Ok::<(), eventstore_abstractions::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no event and no set of events",
    note = "implement `DomainEvent` for an event type, and gather several of them with `event_set!`"
)]
pub trait EventSet: Sized {
    /// The names of the types that the set knows.
    const TYPE_NAMES: &'static [&'static str];

    /// The event of `message`, or `None` when the set does not know its type at its schema version.
    /// Whoever reads events uses a [`Decoder`](crate::typed::Decoder).
    ///
    /// # Errors
    /// [`Error::PayloadCodec`](crate::Error::PayloadCodec) when the type is known and the payload
    /// cannot be read.
    fn decode<C: PayloadCodec>(codec: &C, message: &EventMessage) -> Result<Option<Self>>;

    /// The message of the event. Whoever writes events uses [`EventMessage::of`] or
    /// [`EventMessage::encoded_by`].
    ///
    /// # Errors
    /// [`Error::PayloadCodec`](crate::Error::PayloadCodec) when the event cannot be encoded.
    fn encode<C: PayloadCodec>(&self, codec: &C) -> Result<EventMessage>;
}

impl<E: DomainEvent> EventSet for E {
    const TYPE_NAMES: &'static [&'static str] = &[E::TYPE_NAME];

    fn decode<C: PayloadCodec>(codec: &C, message: &EventMessage) -> Result<Option<Self>> {
        if message.type_name() != E::TYPE_NAME || message.metadata.message.schema_version > E::SCHEMA_VERSION
        {
            return Ok(None);
        }
        codec.decode(&message.payload).map(Some)
    }

    fn encode<C: PayloadCodec>(&self, codec: &C) -> Result<EventMessage> {
        let mut metadata = Metadata::new(TypeName::from_static(E::TYPE_NAME)?);
        metadata.message.schema_version = E::SCHEMA_VERSION;
        Ok(EventMessage {
            payload: Payload::encode(codec, self)?,
            metadata,
        })
    }
}

/// Gathers event types into an enum with one variant per type, and implements
/// [`EventSet`](crate::typed::EventSet) and `From` for each of them.
///
/// A variant is named like its type, or `Variant(path::to::Type)`. Each type implements
/// [`DomainEvent`](crate::typed::DomainEvent). An event whose schema version is above the type's own is
/// unknown to the set: a newer program wrote it.
///
/// ```
/// # use eventstore_abstractions::{event_set, typed::DomainEvent};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, Serialize, Deserialize)] pub struct Opened;
/// # impl DomainEvent for Opened { const TYPE_NAME: &'static str = "Opened"; }
/// # #[derive(Debug, Serialize, Deserialize)] pub struct MoneyDeposited;
/// # impl DomainEvent for MoneyDeposited { const TYPE_NAME: &'static str = "MoneyDeposited"; }
/// event_set! {
///     /// What can happen to an account.
///     #[derive(Debug)]
///     pub enum AccountEvent {
///         Opened,
///         Deposited(MoneyDeposited),
///     }
/// }
///
/// let event: AccountEvent = MoneyDeposited.into();
/// ```
#[macro_export]
macro_rules! event_set {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $set:ident {
            $( $(#[$variant_attribute:meta])* $variant:ident $( ( $event:ty ) )? ),+ $(,)?
        }
    ) => {
        $crate::event_set! {
            @define [$(#[$attribute])*] [$visibility] $set
            [] $( [ $(#[$variant_attribute])* $variant $( ($event) )? ] )+
        }
    };
    // Variants without a type get their own name as the type.
    (@define $attributes:tt $visibility:tt $set:ident [$($done:tt)*]
        [ $(#[$variant_attribute:meta])* $variant:ident ] $($rest:tt)*) => {
        $crate::event_set! {
            @define $attributes $visibility $set
            [$($done)* { [$(#[$variant_attribute])*] $variant ($variant) }] $($rest)*
        }
    };
    (@define $attributes:tt $visibility:tt $set:ident [$($done:tt)*]
        [ $(#[$variant_attribute:meta])* $variant:ident ($event:ty) ] $($rest:tt)*) => {
        $crate::event_set! {
            @define $attributes $visibility $set
            [$($done)* { [$(#[$variant_attribute])*] $variant ($event) }] $($rest)*
        }
    };
    (@define [$($attribute:tt)*] [$visibility:vis] $set:ident
        [$( { [$($variant_attribute:tt)*] $variant:ident ($event:ty) } )+]) => {
        $($attribute)*
        $visibility enum $set {
            $(
                $($variant_attribute)*
                #[allow(missing_docs, reason = "the event type says what it means")]
                $variant($event),
            )+
        }

        impl $crate::typed::EventSet for $set {
            const TYPE_NAMES: &'static [&'static str] =
                &[$( <$event as $crate::typed::DomainEvent>::TYPE_NAME ),+];

            fn decode<C: $crate::typed::PayloadCodec>(
                codec: &C,
                message: &$crate::EventMessage,
            ) -> $crate::private::Result<$crate::private::Option<Self>, $crate::Error> {
                $(
                    if let $crate::private::Option::Some(event) =
                        <$event as $crate::typed::EventSet>::decode(codec, message)?
                    {
                        let event = $crate::private::Option::Some(Self::$variant(event));
                        return $crate::private::Result::Ok(event);
                    }
                )+
                $crate::private::Result::Ok($crate::private::Option::None)
            }

            fn encode<C: $crate::typed::PayloadCodec>(
                &self,
                codec: &C,
            ) -> $crate::private::Result<$crate::EventMessage, $crate::Error> {
                match self {
                    $( Self::$variant(event) => <$event as $crate::typed::EventSet>::encode(event, codec), )+
                }
            }
        }

        $(
            impl ::core::convert::From<$event> for $set {
                fn from(event: $event) -> Self {
                    Self::$variant(event)
                }
            }
        )+
    };
}
