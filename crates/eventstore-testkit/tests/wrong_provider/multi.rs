//! Providers that append to several streams, or under conditions, wrongly.

use std::sync::Arc;

use async_trait::async_trait;
use eventstore_abstractions::{
    AppendOptions, ContextMetadata, Error, EventLog, LogReadOptions, MessageId, MultiAppend, MultiAppended,
    Position, Query, QueryItem, Result, Tag, TypeName,
};
use tokio::sync::Mutex;
use tokio::task::yield_now;

use crate::appends::each;
use crate::wrong::{Wrong, wrong};

wrong! {
    AppendsStreamByStream: append_all |right, append| stream_by_stream(right, append).await;
    ReversesStreams: append_all |right, append| {
        let mut append = append;
        append.streams.reverse();
        let mut told = right.append_all(append).await?;
        told.streams.reverse();
        Ok(told)
    };
    LooksAtWrittenStreamsOnly: append_all |right, append| {
        let mut append = append;
        append.streams.retain(|part| !part.events.is_empty());
        right.append_all(append).await
    };
    KeepsTheFirstOfTwoNames: append_all |right, append| {
        let mut seen = std::collections::HashSet::new();
        let mut append = append;
        append.streams.retain(|part| seen.insert(part.stream.clone()));
        right.append_all(append).await
    };
    TakesEveryTryForNew: append_all |right, append| {
        let mut append = append;
        for part in &mut append.streams {
            let events = std::mem::take(&mut part.events);
            part.events = each(events, |event| {
                event.metadata.message.id = MessageId::generate();
                event.metadata.context.idempotency_id = None;
            });
        }
        right.append_all(append).await
    };
    ForgetsConditions: append_all |right, append| {
        let mut append = append;
        append.conditions.clear();
        right.append_all(append).await
    };
    NamesTheFirstCondition: append_all |right, append| {
        right.append_all(append).await.map_err(|error| match error {
            Error::AppendConditionFailed { position, .. } => {
                Error::AppendConditionFailed { condition: 0, position }
            }
            error => error,
        })
    };
    ChecksConditionsOutsideTheCommit: append_all |right, append| {
        let mut append = append;
        check_conditions(right, &append).await?;
        append.conditions.clear();
        yield_now().await;
        right.append_all(append).await
    };
    ChecksConditionsFirst: append_all |right, append| {
        check_conditions(right, &append).await?;
        right.append_all(append).await
    };
    CutsConditions: append_all |right, append| {
        let mut append = append;
        append.conditions.truncate(MultiAppend::MAX_CONDITIONS);
        for condition in &mut append.conditions {
            if condition.fail_if.validate().is_err() {
                condition.fail_if = Query::item(QueryItem::tags([]));
            }
        }
        right.append_all(append).await
    };
    IgnoresTheCaseOfTags: append_all |right, append| {
        let mut append = append;
        for part in &mut append.streams {
            for event in &mut part.events {
                event.metadata.context.tags = lower_case(&event.metadata.context.tags);
            }
        }
        for condition in &mut append.conditions {
            let items = condition.fail_if.items().iter().cloned();
            condition.fail_if = items.fold(Query::all(), |query, mut item| {
                item.tags = lower_case(&item.tags);
                query.or(item)
            });
        }
        right.append_all(append).await
    };
    CutsTags: append |right, events, options| {
        right.append(each(events, |event| {
            let tags = &mut event.metadata.context.tags;
            tags.truncate(ContextMetadata::MAX_TAGS);
            tags.sort_unstable();
            tags.dedup();
        }), options).await
    };
    RenamesReservedTypes: append |right, events, options| {
        right.append(each(events, |event| {
            let name = &mut event.metadata.message.type_name;
            if *name == TypeName::REMOVED {
                *name = TypeName::new("removed").expect("valid");
            }
        }), options).await
    };
}

/// Lets one append under conditions into the store at a time.
#[derive(Debug, Default)]
pub(crate) struct AppendsOneAtATime(Mutex<()>);

#[async_trait]
impl Wrong for AppendsOneAtATime {
    async fn append_all(&self, right: &Arc<dyn EventLog>, append: MultiAppend) -> Result<MultiAppended> {
        let _alone = self.0.lock().await;
        right.append_all(append).await
    }
}

async fn stream_by_stream(right: &Arc<dyn EventLog>, append: MultiAppend) -> Result<MultiAppended> {
    let mut told = Vec::new();
    for part in append.streams {
        let options = AppendOptions::expecting(part.expected).durability(append.durability);
        told.push(right.append_with(&part.stream, part.events, options).await?);
    }
    let position = told.iter().map(|appended| appended.position).max();
    Ok(MultiAppended::new(told, position.unwrap_or(Position::ZERO)))
}

async fn check_conditions(right: &Arc<dyn EventLog>, append: &MultiAppend) -> Result<()> {
    for (at, condition) in append.conditions.iter().enumerate() {
        let options = LogReadOptions::forward_from(condition.after.next()).query(condition.fail_if.clone());
        if let Some(event) = right.read_all(options).next().await.transpose()? {
            return Err(Error::AppendConditionFailed {
                condition: at,
                position: event.position,
            });
        }
    }
    Ok(())
}

fn lower_case(tags: &[Tag]) -> Vec<Tag> {
    let lower = tags
        .iter()
        .map(|tag| Tag::new(tag.as_str().to_lowercase()).expect("still valid"));
    lower.collect()
}
