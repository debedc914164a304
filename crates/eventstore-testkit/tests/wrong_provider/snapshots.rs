//! Providers that keep snapshots wrongly.

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_trait::async_trait;
use eventstore_abstractions::{AppendOptions, Error, EventMessage, MessageId, ReadOptions, Result, Version};

use crate::right::Right;
use crate::wrong::{Wrong, wrong};

wrong! {
    LosesScopes: snapshot |right, version, message| {
        let mut message = message;
        message.metadata.context.scopes.clear();
        right.snapshot(version, message).await
    };
    KeepsTheFirst: snapshot |right, version, message| {
        if right.snapshot_versions().await?.contains(&version) {
            return Ok(());
        }
        right.snapshot(version, message).await
    };
    RoundsDownToTheHead: snapshot |right, version, message| {
        let head = right.version().await?;
        right.snapshot(version.min(head), message).await
    };
    ForgetsTheOneAtZero: snapshot |right, version, message| match version {
        Version::ZERO => Ok(()),
        _ => right.snapshot(version, message).await,
    };
    CutsLargeStates: snapshot |right, version, message| {
        let mut message = message;
        message.payload.bytes.truncate(right.capabilities.max_value_bytes / 2);
        right.snapshot(version, message).await
    };
    IsAnEvent: snapshot |right, version, message| {
        right.snapshot(version, message.clone()).await?;
        let event = message.with_message_id(MessageId::generate());
        right.append(vec![event], AppendOptions::default()).await.map(drop)
    };
    StandsOneEarly: snapshot |right, version, message| {
        right.snapshot(Version::new(version.get() - 1), message).await
    };
    ReadsEveryEventToTakeOne: snapshot |right, version, message| {
        right.read(ReadOptions::replay().without_snapshots()).await?.collect().await?;
        right.snapshot(version, message).await
    };
    TakesOneAfterEachAppend: append |right, events, options| {
        let last = events.last().cloned();
        let appended = right.append(events, options).await?;
        if let Some(last) = last {
            right.snapshot(appended.version, last).await?;
        }
        Ok(appended)
    };
    ListsAsText: snapshot_versions |right| {
        let mut versions = right.snapshot_versions().await?;
        versions.sort_by_key(Version::to_string);
        Ok(versions)
    };
    ReadsTheOneAtTheVersionOnly: read_snapshot |right, version| {
        let read = right.read_snapshot(version).await?;
        Ok(read.filter(|snapshot| snapshot.version == version))
    };
    ClearsNothing: clear_snapshot |right, version| {
        if right.snapshot_versions().await?.contains(&version) {
            return Ok(());
        }
        right.clear_snapshot(version).await
    };
    ClearsAbsentOnes: clear_snapshot |right, version| match right.clear_snapshot(version).await {
        Err(Error::SnapshotVersionNotFound { .. }) => Ok(()),
        cleared => cleared,
    };
    ClearsAllButTheNewest: clear_snapshots |right| {
        let versions = right.snapshot_versions().await?;
        for version in versions.iter().rev().skip(1) {
            right.clear_snapshot(*version).await?;
        }
        Ok(())
    };
    ClearsOnePage: clear_snapshots |right| {
        for version in right.snapshot_versions().await?.into_iter().take(256) {
            right.clear_snapshot(version).await?;
        }
        Ok(())
    };
}

/// Lists what was taken, whether it is there still or not.
#[derive(Debug, Default)]
pub(crate) struct ListsClearedOnes(Mutex<BTreeSet<Version>>);

#[async_trait]
impl Wrong for ListsClearedOnes {
    async fn snapshot(&self, right: &Right, version: Version, message: EventMessage) -> Result<()> {
        right.snapshot(version, message).await?;
        self.0.lock().expect("no panic under the lock").insert(version);
        Ok(())
    }

    async fn snapshot_versions(&self, _right: &Right) -> Result<Vec<Version>> {
        let taken = self.0.lock().expect("no panic under the lock");
        Ok(taken.iter().copied().collect())
    }
}

/// Stores the snapshots of a session when it is closed.
#[derive(Debug, Default)]
pub(crate) struct StoresThemOnClose(Mutex<Vec<(Version, EventMessage)>>);

#[async_trait]
impl Wrong for StoresThemOnClose {
    async fn snapshot(&self, _right: &Right, version: Version, message: EventMessage) -> Result<()> {
        self.0
            .lock()
            .expect("no panic under the lock")
            .push((version, message));
        Ok(())
    }

    async fn close(&self, right: &Right) -> Result<()> {
        let taken = std::mem::take(&mut *self.0.lock().expect("no panic under the lock"));
        for (version, message) in taken {
            right.snapshot(version, message).await?;
        }
        right.own().close().await
    }
}
