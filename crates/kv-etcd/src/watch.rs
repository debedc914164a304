//! The wake-up: a watch of the one key that every commit puts.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt};
use http::uri::PathAndQuery;
use kv_core::waits::{slept, within};
use kv_core::{Error, Result};
use tokio::sync::watch;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use crate::client::{Client, ready};
use crate::error::Failure;
use crate::messages::{RangeResponse, WatchCreateRequest, WatchRequest, WatchResponse, call};
use crate::reads::point;

/// A watch that follows the store from one revision on, by whichever member it can.
pub(crate) struct Watch {
    client: Arc<Client>,
    /// Ends with the store.
    open: watch::Receiver<()>,
    key: kv_core::Bytes,
    /// The first revision that was not told yet.
    next_revision: i64,
    /// `None` while there is no connection.
    stream: Option<Streaming<WatchResponse>>,
    /// The member that the stream comes from, or that is asked next.
    member: usize,
    /// Tries since the last word of any member.
    failures: usize,
}

impl Watch {
    /// Watches `key` from now on.
    pub(crate) async fn new(
        client: Arc<Client>,
        open: watch::Receiver<()>,
        key: kv_core::Bytes,
    ) -> Result<Self> {
        let now = client.read(call::RANGE, point(key.clone())).await;
        let now: RangeResponse = now.map_err(Failure::of_read)?;
        Ok(Self {
            member: client.current(),
            client,
            open,
            key,
            next_revision: now.header.unwrap_or_default().revision + 1,
            stream: None,
            failures: 0,
        })
    }

    /// Returns when something was committed at a revision that was not told yet.
    async fn news(&mut self) -> Result<()> {
        loop {
            if self.stream.is_none() {
                match self.connected().await {
                    Ok(stream) => self.stream = Some(stream),
                    Err(failure) => self.failed(failure).await?,
                }
            }
            let Some(stream) = &mut self.stream else { continue };
            match stream.message().await {
                Ok(Some(response)) => {
                    self.failures = 0;
                    if self.is_news(response) {
                        return Ok(());
                    }
                }
                Ok(None) => self.failed(Status::unavailable("the watch ended").into()).await?,
                Err(status) => self.failed(status.into()).await?,
            }
        }
    }

    fn is_news(&mut self, response: WatchResponse) -> bool {
        if response.canceled {
            tracing::debug!(reason = response.cancel_reason, "etcd ended a watch");
            self.stream = None;
            // What was compacted away cannot be told one by one: it is told as one.
            let was_compacted = response.compact_revision >= self.next_revision;
            self.next_revision = self.next_revision.max(response.compact_revision);
            return was_compacted;
        }
        if response.events.is_empty() {
            return false;
        }
        let revision = response.header.unwrap_or_default().revision;
        self.next_revision = self.next_revision.max(revision + 1);
        true
    }

    /// A stream of what comes from `next_revision` on.
    async fn connected(&self) -> Result<Streaming<WatchResponse>, Failure> {
        let create = WatchCreateRequest {
            key: self.key.clone(),
            start_revision: self.next_revision,
        };
        let create = WatchRequest { create: Some(create) };
        // etcd ends a watch whose requests end.
        let requests = stream::iter([create]).chain(stream::pending());
        let request = self.client.signed(self.member, requests).await?;
        let mut grpc = self.client.grpc(self.member);
        let connected = async {
            ready(&mut grpc).await?;
            let codec = ProstCodec::<WatchRequest, WatchResponse>::default();
            let path = PathAndQuery::from_static(call::WATCH);
            Ok(grpc.streaming(request, path, codec).await?.into_inner())
        };
        within(self.client.timeout(), connected)
            .await
            .unwrap_or_else(|| Err(Failure::timed_out(self.client.timeout())))
    }

    /// Waits before the next member is asked, or gives up.
    async fn failed(&mut self, failure: Failure) -> Result<()> {
        self.stream = None;
        self.failures += 1;
        match failure {
            Failure::Refused(_) => return Err(failure.of_read()),
            Failure::Token(_) => self.client.forget_token(),
            _ => self.client.leave(self.member),
        }
        if self.failures > self.client.rounds() {
            self.failures = 0;
            return Err(failure.of_read());
        }
        let next = self.client.current();
        // Calls may go on with a member that hangs for watches alone.
        self.member = if next == self.member && self.failures > 1 {
            self.client.leave(next);
            self.client.current()
        } else {
            next
        };
        if slept(self.client.pause(self.failures)).await {
            Ok(())
        } else {
            Err(failure.of_read())
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("next_revision", &self.next_revision)
            .field("connected", &self.stream.is_some())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl kv_core::Watch for Watch {
    async fn changed(&mut self) -> Result<()> {
        let mut open = self.open.clone();
        tokio::select! {
            biased;
            // Nothing is ever sent: it returns when the store is closed or dropped.
            _ = open.changed() => Err(Error::Closed),
            news = self.news() => news,
        }
    }
}
