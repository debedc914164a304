//! Providers that keep state beside their events wrongly.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use eventstore_abstractions::{
    Bytes, Changes, Committed, Durability, Error, EventLog, Namespace, NamespaceName, Requirement, Result,
    StreamId,
};
use parking_lot::Mutex;
use tokio::task::yield_now;

use crate::wrong::{Wrong, wrong};

/// A namespace that does what is wrong about it.
#[derive(Debug)]
pub(crate) struct Wronged {
    pub(crate) right: Arc<dyn Namespace>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) wrong: Arc<dyn Wrong>,
}

#[async_trait]
impl Namespace for Wronged {
    fn name(&self) -> &NamespaceName {
        self.right.name()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.wrong.state_get(&self.right, key).await
    }

    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        self.wrong.state_scan(&self.right, prefix, after, limit).await
    }

    async fn commit(&self, changes: Changes, durability: Durability) -> Result<Committed> {
        self.wrong
            .state_commit(&self.log, &self.right, changes, durability)
            .await
    }
}

wrong! {
    LosesEmptyValues: state_get |right, key| Ok(right.get(key).await?.filter(|value| !value.is_empty()));
    ReadsDamageAsAbsent: state_get |right, key| match right.get(key).await {
        Err(Error::Corrupt { .. }) => Ok(None),
        read => read,
    };
    CutsLongKeys: state_get |right, key| {
        right.get(&key[..key.len().min(eventstore_abstractions::MAX_KEY_BYTES)]).await
    };
    ReadsClosedAsAbsent: state_get |right, key| match right.get(key).await {
        Err(Error::ProviderClosed) => Ok(None),
        read => read,
    };
    ScanIncludesWhereItGoesOn: state_scan |right, prefix, after, limit| {
        let mut entries = right.scan(prefix, after, limit).await?;
        if let Some(after) = after
            && let Some(value) = right.get(after).await?
        {
            entries.insert(0, (after.to_vec().into(), value));
            entries.truncate(limit);
        }
        Ok(entries)
    };
    ScansEverything: state_scan |right, prefix, after, limit| {
        let mut all = right.scan(prefix, after, limit).await?;
        while let Some((last, _)) = all.last().filter(|_| all.len() < limit) {
            let page = right.scan(prefix, Some(&last.clone()), limit - all.len()).await?;
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        Ok(all)
    };
    WritesOneByOne: state_commit |_log, right, changes, durability| {
        for (key, value) in changes.writes {
            let mut one = Changes::new();
            one.requirements.clone_from(&changes.requirements);
            one.writes.push((key, value));
            if right.commit(one, durability).await? == Committed::Conflict {
                return Ok(Committed::Conflict);
            }
        }
        Ok(Committed::Applied)
    };
    ChecksRequirementsBefore: state_commit |_log, right, changes, durability| {
        for (key, requirement) in &changes.requirements {
            let now = right.get(key).await?;
            let holds = match requirement {
                Requirement::Absent => now.is_none(),
                Requirement::Equals(value) => now.as_ref() == Some(value),
            };
            if !holds {
                return Ok(Committed::Conflict);
            }
        }
        yield_now().await;
        let mut writes = Changes::new();
        writes.writes = changes.writes;
        right.commit(writes, durability).await
    };
    NotesChangesInTheLog: state_commit |log, right, changes, durability| {
        let notes = StreamId::new("namespaces", "notes").expect("a valid name");
        let note = eventstore_abstractions::EventMessage::json("Changed", &()).expect("a valid message");
        let options = eventstore_abstractions::AppendOptions::default();
        log.append_with(&notes, vec![note], options).await?;
        right.commit(changes, durability).await
    };
    TellsUnknownForFailed: state_commit |_log, right, changes, durability| {
        match right.commit(changes, durability).await {
            Err(Error::OutcomeUnknown { reason, source }) => Err(Error::Unavailable { reason, source }),
            ended => ended,
        }
    };
}

/// Keeps all that is written to any namespace in one.
#[derive(Debug)]
pub(crate) struct HasOneNamespace;

impl Wrong for HasOneNamespace {
    fn namespace(&self, _asked: &NamespaceName) -> NamespaceName {
        NamespaceName::new("all").expect("a valid name")
    }
}

/// Answers what it has answered before.
#[derive(Debug, Default)]
pub(crate) struct RemembersState(Mutex<BTreeMap<Vec<u8>, Option<Bytes>>>);

#[async_trait]
impl Wrong for RemembersState {
    async fn state_get(&self, right: &Arc<dyn Namespace>, key: &[u8]) -> Result<Option<Bytes>> {
        let read = right.get(key).await?;
        Ok(self.0.lock().entry(key.to_vec()).or_insert(read).clone())
    }
}
