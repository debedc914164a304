//! Invoices are numbered without gaps: the next number follows the newest invoice, and nobody else may take it.

use eventstore_abstractions::typed::{Decoder, DomainEvent};
use eventstore_abstractions::{
    AppendCondition, EventLog, EventMessage, ExpectedVersion, LogReadOptions, MultiAppend, Position, Query,
    QueryItem, Result, StreamId, Tag,
};
use serde::{Deserialize, Serialize};

/// An invoice was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceCreated {
    /// Its number.
    pub number: u64,
    /// What is to be paid, in cents.
    pub cents: u64,
}

impl DomainEvent for InvoiceCreated {
    const TYPE_NAME: &'static str = "InvoiceCreated";
}

/// Writes an invoice: its number.
///
/// Only the newest invoice matters, so that is all that is read, however many there are.
///
/// # Errors
/// As the store fails.
pub async fn create(log: &dyn EventLog, cents: u64) -> Result<u64> {
    let tag = Tag::new("invoices")?;
    let query = Query::item(QueryItem::types([InvoiceCreated::TYPE_NAME])?.tag(tag.clone()));
    loop {
        let (newest, seen) = newest(log, &query).await?;
        let number = newest + 1;
        let event = EventMessage::of(&InvoiceCreated { number, cents })?.with_tags([tag.clone()]);
        let append = MultiAppend::new()
            .to(
                &StreamId::new("invoice", number.to_string())?,
                ExpectedVersion::NoStream,
                [event],
            )
            .condition(AppendCondition::fail_if_after(query.clone(), seen));
        match log.append_all(append).await {
            Err(error) if error.is_conflict() => {}
            appended => return appended.map(|_| number),
        }
    }
}

/// The number of the newest invoice and its position; zeros when there is none.
async fn newest(log: &dyn EventLog, query: &Query) -> Result<(u64, Position)> {
    let newest = LogReadOptions::backward().query(query.clone()).limit(1);
    let Some(event) = log.read_all(newest).next().await.transpose()? else {
        return Ok((0, Position::ZERO));
    };
    let invoice = Decoder::<InvoiceCreated>::new().decode_event(&event.message)?;
    Ok((invoice.number, event.position))
}
