//! Typed events from outside of the crate, as a domain uses them.

use std::collections::HashSet;
use std::error::Error as _;

use eventstore_abstractions::typed::{
    Decoded, Decoder, DomainEvent, EventSet, Json, PayloadCodec, UnknownTypes,
};
use eventstore_abstractions::{
    Bytes, ContentType, Error, EventMessage, Payload, Result, Snapshot, Timestamp, TypeName, Version,
    event_set,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Opened {
    owner: String,
}

impl DomainEvent for Opened {
    const TYPE_NAME: &'static str = "Opened";
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Deposited {
    cents: u64,
    #[serde(default)]
    note: Option<String>,
}

impl DomainEvent for Deposited {
    const TYPE_NAME: &'static str = "Deposited";
    const SCHEMA_VERSION: u32 = 2;
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Closed;

impl DomainEvent for Closed {
    const TYPE_NAME: &'static str = "Closed";
}

event_set! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum AccountEvent {
        Opened,
        /// A variant may be named unlike its type.
        MoneyIn(Deposited),
        Closed,
    }
}

/// JSON for people: it reads and writes a content type of its own.
#[derive(Clone, Copy, Debug)]
struct PrettyJson;

const PRETTY: &str = "text/vnd.example.pretty+json";

impl PayloadCodec for PrettyJson {
    fn content_type(&self) -> ContentType {
        ContentType::new(PRETTY).expect("a valid content type")
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes> {
        let text = serde_json::to_vec_pretty(value).map_err(|error| self.encode_error(error))?;
        Ok(text.into())
    }

    fn decode_bytes<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|error| self.decode_error(error))
    }
}

fn opened() -> Opened {
    let owner = "Alice".to_owned();
    Opened { owner }
}

fn deposited() -> Deposited {
    let (cents, note) = (500, Some("salary".to_owned()));
    Deposited { cents, note }
}

fn one_of_each() -> [AccountEvent; 3] {
    [opened().into(), deposited().into(), Closed.into()]
}

fn unknown() -> EventMessage {
    EventMessage::json("Frozen", &1).expect("can be written")
}

fn deposited_of_schema(schema_version: u32, json: &str) -> EventMessage {
    let payload = Payload::new(ContentType::JSON, json.to_owned());
    let mut message = EventMessage::new("Deposited", payload).expect("a valid type name");
    message.metadata.message.schema_version = schema_version;
    message
}

#[test]
fn events_of_one_stream_decode_to_their_own_types() {
    let stream = one_of_each().map(|event| event.encode(&Json).expect("can be written"));
    let names = stream.each_ref().map(|message| message.type_name());
    assert_eq!(names, ["Opened", "Deposited", "Closed"]);
    let decoder = Decoder::<AccountEvent>::new();
    let decoded = stream.map(|message| decoder.decode(&message).expect("can be read"));
    assert_eq!(decoded, one_of_each().map(|event| Some(Decoded::Event(event))));
}

#[test]
fn set_knows_its_types_and_messages_carry_their_schema_versions() {
    assert_eq!(AccountEvent::TYPE_NAMES, ["Opened", "Deposited", "Closed"]);
    let versions = one_of_each().map(|event| {
        let message = event.encode(&Json).expect("can be written");
        message.metadata.message.schema_version
    });
    assert_eq!(versions, [1, 2, 1]);
}

#[test]
fn set_and_single_event_write_the_same_content() {
    let of_event = EventMessage::of(&deposited()).expect("can be written");
    let of_set = EventMessage::of(&AccountEvent::from(deposited())).expect("can be written");
    assert!(of_event.same_content(&of_set));
    assert_ne!(of_event.id(), of_set.id());
}

#[test]
fn event_type_is_a_set_of_one() {
    let messages = one_of_each().map(|event| EventMessage::of(&event).expect("can be written"));
    let decoder = Decoder::<Deposited>::new().unknown_types(UnknownTypes::Skip);
    let decoded = messages.map(|message| decoder.decode(&message).expect("can be read"));
    assert_eq!(decoded, [None, Some(Decoded::Event(deposited())), None]);
    assert_eq!(Deposited::TYPE_NAMES, ["Deposited"]);
}

#[test]
fn decode_event_gives_the_event_or_an_error_whatever_the_choice() {
    for choice in [UnknownTypes::Fail, UnknownTypes::Skip, UnknownTypes::KeepRaw] {
        let decoder = Decoder::<AccountEvent>::new().unknown_types(choice);
        let known = EventMessage::of(&Closed).expect("can be written");
        let event = decoder.decode_event(&known).expect("can be read");
        assert_eq!(event, Closed.into());
        for wrong in [unknown(), deposited_of_schema(3, "{}")] {
            let error = decoder.decode_event(&wrong).expect_err("must fail");
            assert!(matches!(error, Error::UnknownEventType { .. }), "{error:?}");
        }
        let error = decoder.decode_event(&deposited_of_schema(2, "{"));
        assert!(matches!(error, Err(Error::PayloadCodec { .. })), "{error:?}");
    }
}

fn snapshot(message: EventMessage) -> Snapshot {
    Snapshot::new(Version::FIRST, Timestamp::from_micros(0), message)
}

#[test]
fn snapshot_decodes_to_its_type() {
    let message = EventMessage::encoded_by(&PrettyJson, &deposited()).expect("can be written");
    let state = snapshot(message).decode::<Deposited>(&PrettyJson);
    assert_eq!(state.expect("can be read"), Some(deposited()));
}

#[test]
fn snapshot_of_another_type_or_schema_version_is_none() {
    let others = [
        unknown(),
        deposited_of_schema(1, r#"{"cents":5}"#),
        deposited_of_schema(3, r#"{"cents":5}"#),
    ];
    for other in others {
        let state = snapshot(other).decode::<Deposited>(&Json);
        assert_eq!(state.expect("is no error"), None);
    }
    let damaged = snapshot(deposited_of_schema(2, "{")).decode::<Deposited>(&Json);
    assert!(matches!(damaged, Err(Error::PayloadCodec { .. })), "{damaged:?}");
}

#[test]
fn unknown_type_is_an_error_that_names_it() {
    let decoder = Decoder::<AccountEvent>::new();
    let error = decoder.decode(&unknown()).expect_err("must fail");
    assert!(matches!(error, Error::UnknownEventType { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("Frozen") && text.contains("skip"), "{text}");
}

#[test]
fn unknown_type_is_skipped_where_the_caller_says_so() {
    let decoder = Decoder::<AccountEvent>::new().unknown_types(UnknownTypes::Skip);
    let known = EventMessage::of(&Closed).expect("can be written");
    let decoded = [unknown(), known].map(|message| decoder.decode(&message).expect("is no error"));
    assert_eq!(decoded, [None, Some(Decoded::Event(Closed.into()))]);
}

#[test]
fn unknown_type_is_kept_raw_where_the_caller_says_so() {
    let decoder = Decoder::<AccountEvent>::new().unknown_types(UnknownTypes::KeepRaw);
    let message = unknown();
    let Some(Decoded::Raw(raw)) = decoder.decode(&message).expect("is no error") else {
        panic!("the message was not kept");
    };
    assert_eq!(raw.metadata, message.metadata);
    assert_eq!(raw.payload, message.payload);
    assert_eq!(Decoded::<AccountEvent>::Raw(raw).event(), None);
}

#[test]
fn newer_schema_version_is_unknown() {
    let newer = deposited_of_schema(3, r#"{"cents":5,"note":null}"#);
    let decoder = Decoder::<AccountEvent>::new();
    let Err(Error::UnknownEventType {
        type_name,
        schema_version,
    }) = decoder.decode(&newer)
    else {
        panic!("a newer schema version was accepted");
    };
    assert_eq!((type_name.as_str(), schema_version), ("Deposited", 3));
    let skipping = decoder.unknown_types(UnknownTypes::Skip);
    assert_eq!(skipping.decode(&newer).expect("is no error"), None);
}

#[test]
fn older_schema_version_is_read_by_the_newer_type() {
    let older = deposited_of_schema(1, r#"{"cents":5}"#);
    let decoded = Decoder::<AccountEvent>::new()
        .decode(&older)
        .expect("can be read");
    let (cents, note) = (5, None);
    let expected = AccountEvent::from(Deposited { cents, note });
    assert_eq!(decoded, Some(Decoded::Event(expected)));
}

#[test]
fn payload_of_a_known_type_that_cannot_be_read_is_never_skipped() {
    let damaged = deposited_of_schema(2, r#"{"cents":"many"}"#);
    for choice in [UnknownTypes::Fail, UnknownTypes::Skip, UnknownTypes::KeepRaw] {
        let decoder = Decoder::<AccountEvent>::new().unknown_types(choice);
        let error = decoder.decode(&damaged).expect_err("must fail");
        assert!(
            matches!(error, Error::PayloadCodec { action: "decode", .. }),
            "{choice:?}: {error:?}"
        );
    }
}

#[test]
fn another_codec_records_its_content_type_and_reads_back() {
    let event = AccountEvent::from(deposited());
    let message = event.encode(&PrettyJson).expect("can be written");
    assert_eq!(message.payload.content_type.as_str(), PRETTY);
    assert!(
        message.payload.bytes.contains(&b'\n'),
        "the codec itself wrote it"
    );
    let decoder = Decoder::<AccountEvent, _>::with_codec(PrettyJson);
    let decoded = decoder.decode(&message).expect("can be read");
    assert_eq!(decoded, Some(Decoded::Event(event)));
}

#[test]
fn wrong_codec_is_refused_in_both_directions_and_both_content_types_are_named() {
    let pretty = EventMessage::encoded_by(&PrettyJson, &opened()).expect("can be written");
    let json = EventMessage::of(&opened()).expect("can be written");
    let outcomes = [
        Decoder::<AccountEvent>::new().decode(&pretty),
        Decoder::<AccountEvent, _>::with_codec(PrettyJson).decode(&json),
    ];
    for outcome in outcomes {
        let error = outcome.expect_err("must be refused");
        assert!(
            matches!(error, Error::PayloadCodec { action: "decode", .. }),
            "{error:?}"
        );
        let text = format!("{error}: {}", error.source().expect("the reader's content type"));
        assert!(
            text.contains(PRETTY) && text.contains("application/json"),
            "{text}"
        );
    }
}

#[test]
fn type_name_that_no_store_can_keep_is_refused_when_the_message_is_made() {
    #[derive(Serialize, Deserialize)]
    struct Nameless;
    impl DomainEvent for Nameless {
        const TYPE_NAME: &'static str = "";
    }
    let too_long = "n".repeat(TypeName::MAX_BYTES + 1);
    let outcomes = [
        EventMessage::of(&Nameless),
        EventMessage::json(too_long, &()),
        EventMessage::json("nul\0", &()),
    ];
    for outcome in outcomes {
        assert!(matches!(outcome, Err(Error::InvalidInput { .. })), "{outcome:?}");
    }
}

#[test]
fn message_ids_are_uuids_of_version_7_in_the_order_of_their_making() {
    let ids: Vec<_> = (0..1_000)
        .map(|_| EventMessage::of(&Closed).expect("can be written").id())
        .collect();
    assert!(ids.iter().all(|id| id.as_uuid().get_version_num() == 7));
    assert!(ids.is_sorted());
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
}
