//! Messages and names through serde, as applications send them on.

use eventstore_abstractions::{
    ContentType, CorrelationId, Database, EventMessage, IdempotencyId, MessageId, Result, Scope, StreamId,
    TypeName, UserId, Version,
};
use serde::de::DeserializeOwned;

fn full_message() -> Result<EventMessage> {
    let mut message = EventMessage::json("Deposited", &500)?
        .with_domain(StreamId::new("account", "älice/1")?)
        .with_idempotency_id(IdempotencyId::new("command-1")?)
        .with_sequence_number(Version::new(3))
        .with_correlation_id(CorrelationId::new("request-7")?)
        .with_causation_id(MessageId::generate().into())
        .with_user_id(UserId::new("alice")?);
    message.metadata.context.partition_id = Some(Database::new("tenant-7")?);
    message.metadata.context.received_at = Some("2026-11-23T10:30:00.25Z".parse()?);
    message.metadata.context.session_id = Some("browser".parse()?);
    message.metadata.context.scopes = vec![Scope::new("audit")?];
    Ok(message)
}

#[test]
fn message_with_all_its_metadata_survives_serde() {
    let message = full_message().expect("valid");
    let json = serde_json::to_string(&message).expect("can be written");
    let read: EventMessage = serde_json::from_str(&json).expect("can be read");
    assert_eq!(read, message);
}

#[test]
fn message_without_context_is_read() {
    let message = EventMessage::json("Closed", &()).expect("can be written");
    let mut json = serde_json::to_value(&message).expect("can be written");
    let metadata = json["metadata"].as_object_mut().expect("an object");
    assert!(metadata.remove("context").is_some());
    let read: EventMessage = serde_json::from_value(json).expect("can be read");
    assert_eq!(read, message);
}

#[test]
fn names_survive_serde_as_plain_texts() {
    let name: TypeName = serde_json::from_str(r#""Deposited""#).expect("can be read");
    let json = serde_json::to_string(&name).expect("can be written");
    assert_eq!(json, r#""Deposited""#);
    let stream = StreamId::new("account", "alice").expect("valid");
    let json = serde_json::to_string(&stream).expect("can be written");
    assert_eq!(json, r#"{"category":"account","id":"alice"}"#);
    let read: StreamId = serde_json::from_str(&json).expect("can be read");
    assert_eq!(read, stream);
}

/// Validation must not be a matter of the constructor alone: what comes in by serde is input, too.
#[test]
fn bad_names_are_refused_at_deserialization() {
    fn read<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
        serde_json::from_value(text.into())
    }

    fn check<T: DeserializeOwned>(max_bytes: usize) {
        let name = std::any::type_name::<T>();
        let longest = "n".repeat(max_bytes);
        assert!(read::<T>(&longest).is_ok(), "{name}");
        for (bad, remedy) in [
            ("", "at least one character"),
            (&format!("{longest}n"), "shorten it"),
            ("nul\0", "remove it"),
        ] {
            let Err(error) = read::<T>(bad) else {
                panic!("{name}: {bad:?} was accepted");
            };
            assert!(error.to_string().contains(remedy), "{name}: {error}");
        }
    }

    check::<Database>(Database::MAX_BYTES);
    check::<TypeName>(TypeName::MAX_BYTES);
    check::<ContentType>(ContentType::MAX_BYTES);
    check::<IdempotencyId>(IdempotencyId::MAX_BYTES);
    check::<CorrelationId>(CorrelationId::MAX_BYTES);
    check::<UserId>(UserId::MAX_BYTES);
    check::<Scope>(Scope::MAX_BYTES);
}

#[test]
fn bad_parts_of_a_message_are_refused_at_deserialization() {
    let good = serde_json::to_value(full_message().expect("valid")).expect("can be written");
    let bad_parts = [
        ("/metadata/message/type_name", ""),
        ("/metadata/message/domain/category", "a\0b"),
        ("/metadata/message/domain/id", ""),
        ("/metadata/message/id", "no uuid"),
        ("/metadata/message/created_at", "yesterday"),
        ("/metadata/context/partition_id", ""),
        ("/metadata/context/idempotency_id", "\u{1}"),
        ("/payload/content_type", ""),
    ];
    for (pointer, bad) in bad_parts {
        let mut json = good.clone();
        *json.pointer_mut(pointer).expect("the message has this part") = bad.into();
        let read = serde_json::from_value::<EventMessage>(json);
        assert!(read.is_err(), "{pointer} = {bad:?} was accepted");
    }
}
