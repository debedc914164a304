//! Calls to whichever member of the cluster answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::uri::PathAndQuery;
use kv_core::waits::{slept, within};
use kv_core::{Error, Result, blocking};
use parking_lot::RwLock;
use prost::Message;
use tokio::time::Instant;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::error::Failure;
use crate::messages::{AuthenticateRequest, AuthenticateResponse, call};
use crate::options::{Options, Tls};

/// Largest reply that is taken: as many of the largest values as one page or one commit reads, with room.
pub(crate) const MAX_REPLY_BYTES: usize = 160 << 20;
/// How long a member that is not there may hold up a call.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How a member that hangs is found while nothing is asked of it. etcd ends connections that ask more often than every
/// 5 s.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(6);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two rounds through all members.
const PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
/// How often as long as one try all tries together may take.
const PATIENCE: u32 = 4;
/// The server's windows of flow control, so that a page of 1 MiB does not wait for the reader's word.
const WINDOW_BYTES: u32 = 4 << 20;

/// The connections to a cluster, one a member.
#[derive(Debug)]
pub(crate) struct Client {
    members: Vec<Channel>,
    /// The member that answered last. All calls go to one, until it fails.
    current: AtomicUsize,
    credentials: Option<AuthenticateRequest>,
    token: RwLock<Option<MetadataValue<Ascii>>>,
    timeout: Duration,
}

impl Client {
    /// Connects when the first call is made.
    pub(crate) async fn new(options: &Options) -> Result<Self> {
        let tls = match options.tls.clone() {
            Some(tls) => Some(blocking::read(move || tls_config(&tls)).await?),
            None => None,
        };
        let members = options.endpoints.iter().map(|it| channel(it, tls.as_ref()));
        let credentials = options.credentials.clone();
        Ok(Self {
            members: members.collect::<Result<_>>()?,
            current: AtomicUsize::new(0),
            credentials: credentials.map(|(name, password)| AuthenticateRequest { name, password }),
            token: RwLock::new(None),
            timeout: options.timeout,
        })
    }

    /// Carries out a call that changes nothing, by asking one member after another.
    ///
    /// Only [`Failure::TooLargeReply`] and what is refused come back at once.
    pub(crate) async fn read<Q, R>(&self, call: &'static str, request: Q) -> Result<R, Failure>
    where
        Q: Message + Clone + 'static,
        R: Message + Default + 'static,
    {
        self.tried(call, request, |failure| {
            matches!(
                failure,
                Failure::Later(_) | Failure::Unknown(_) | Failure::Token(_)
            )
        })
        .await
    }

    /// Carries out a call that changes something: it is tried again only where it was not carried out for sure.
    pub(crate) async fn write<Q, R>(&self, call: &'static str, request: Q) -> Result<R, Failure>
    where
        Q: Message + Clone + 'static,
        R: Message + Default + 'static,
    {
        self.tried(call, request, |failure| {
            matches!(failure, Failure::Later(_) | Failure::Token(_))
        })
        .await
    }

    async fn tried<Q, R>(
        &self,
        call: &'static str,
        request: Q,
        may_try_again: impl Fn(&Failure) -> bool,
    ) -> Result<R, Failure>
    where
        Q: Message + Clone + 'static,
        R: Message + Default + 'static,
    {
        let deadline = Instant::now() + self.timeout * PATIENCE;
        let (mut tries, mut signed_in) = (0, false);
        loop {
            let member = self.current.load(Ordering::Relaxed);
            let failure = match self.asked(member, call, request.clone()).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            let is_stale_token = matches!(failure, Failure::Token(_));
            if is_stale_token {
                *self.token.write() = None;
            } else if !matches!(failure, Failure::Refused(_) | Failure::TooLargeReply(_)) {
                self.leave(member);
            }
            // A token that was made for this call and is not valid either is no old one.
            let is_over = !may_try_again(&failure) || (is_stale_token && signed_in);
            tries += 1;
            let pause = self.pause(tries);
            if is_over || Instant::now() + pause >= deadline || !slept(pause).await {
                return Err(failure);
            }
            signed_in |= is_stale_token;
        }
    }

    /// One call to one member.
    async fn asked<Q, R>(&self, member: usize, call: &'static str, request: Q) -> Result<R, Failure>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        let request = self.signed(member, request).await?;
        self.sent(member, call, request).await
    }

    async fn sent<Q, R>(&self, member: usize, call: &'static str, request: Request<Q>) -> Result<R, Failure>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        let mut grpc = self.grpc(member);
        let reply = async {
            ready(&mut grpc).await?;
            let codec = ProstCodec::<Q, R>::default();
            let reply = grpc
                .unary(request, PathAndQuery::from_static(call), codec)
                .await?;
            Ok(reply.into_inner())
        };
        within(self.timeout, reply)
            .await
            .unwrap_or_else(|| Err(Failure::timed_out(self.timeout)))
    }

    pub(crate) fn grpc(&self, member: usize) -> Grpc<Channel> {
        Grpc::new(self.members[member].clone())
            .max_decoding_message_size(MAX_REPLY_BYTES)
            .max_encoding_message_size(usize::MAX)
    }

    /// A request with what each has: who asks, and that a member without a leader shall say so.
    pub(crate) async fn signed<Q>(&self, member: usize, request: Q) -> Result<Request<Q>, Failure> {
        let mut request = Request::new(request);
        let metadata = request.metadata_mut();
        metadata.insert("hasleader", MetadataValue::from_static("true"));
        if let Some(credentials) = &self.credentials {
            let known = self.token.read().clone();
            let token = match known {
                Some(token) => token,
                None => self.authenticated(member, credentials.clone()).await?,
            };
            metadata.insert("token", token);
        }
        Ok(request)
    }

    async fn authenticated(
        &self,
        member: usize,
        credentials: AuthenticateRequest,
    ) -> Result<MetadataValue<Ascii>, Failure> {
        let reply = self
            .sent(member, call::AUTHENTICATE, Request::new(credentials))
            .await;
        let reply: AuthenticateResponse = reply.map_err(|failure| match failure {
            // Nothing was asked yet that could have been done.
            Failure::Unknown(status) => Failure::Later(status),
            failure => failure,
        })?;
        let token = MetadataValue::try_from(reply.token);
        let token = token.map_err(|_| Failure::Refused(Status::internal("etcd's token is no header")))?;
        *self.token.write() = Some(token.clone());
        Ok(token)
    }

    /// The member to ask.
    pub(crate) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Goes on with the next member, unless another call has done so already.
    pub(crate) fn leave(&self, member: usize) {
        let next = (member + 1) % self.members.len();
        let order = Ordering::Relaxed;
        // Either way another member is the one to ask.
        let _ = self.current.compare_exchange(member, next, order, order);
    }

    /// Forgets the token that etcd refused.
    pub(crate) fn forget_token(&self) {
        *self.token.write() = None;
    }

    /// How long to wait before the try after `tries`: not at all while there are members that were not asked.
    pub(crate) fn pause(&self, tries: usize) -> Duration {
        let rounds = tries / self.members.len();
        if !tries.is_multiple_of(self.members.len()) {
            return Duration::ZERO;
        }
        (PAUSE * 2_u32.pow(rounds.min(8) as u32 - 1)).min(LONGEST_PAUSE)
    }

    /// How many tries a wait for news makes before it says that it is cut off.
    pub(crate) fn rounds(&self) -> usize {
        self.members.len() * PATIENCE as usize
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }
}

pub(crate) async fn ready(grpc: &mut Grpc<Channel>) -> Result<(), Failure> {
    // Only the queue in front of the connection is waited for: nothing was sent.
    grpc.ready()
        .await
        .map_err(|error| Failure::Later(Status::from_error(error.into())))
}

fn channel(endpoint: &str, tls: Option<&ClientTlsConfig>) -> Result<Channel> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let refused = |error| {
        let reason =
            format!("no connection to {endpoint} can be set up; check the address and the files of TLS");
        Error::unavailable(reason, error)
    };
    let mut made = Endpoint::from_shared(format!("{scheme}://{endpoint}")).map_err(refused)?;
    if let Some(tls) = tls {
        made = made.tls_config(tls.clone()).map_err(refused)?;
    }
    let made = made
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(2 * WINDOW_BYTES)
        .tcp_nodelay(true);
    Ok(made.connect_lazy())
}

fn tls_config(tls: &Tls) -> Result<ClientTlsConfig> {
    let file = |path: &std::path::Path| {
        std::fs::read(path).map_err(|error| {
            Error::unavailable(
                format!("cannot read {}, which the URL of etcd names", path.display()),
                error,
            )
        })
    };
    let mut config = ClientTlsConfig::new();
    config = match &tls.ca {
        Some(path) => config.ca_certificate(Certificate::from_pem(file(path)?)),
        None => config.with_native_roots(),
    };
    if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
        config = config.identity(Identity::from_pem(file(certificate)?, file(key)?));
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;
    use crate::messages::{RangeRequest, RangeResponse};

    #[test]
    fn call_on_a_runtime_that_has_ended_is_an_error() {
        let runtime = Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let nobody_listens = Options::new(["127.0.0.1:1"]);
        let client = runtime.block_on(Client::new(&nobody_listens)).expect("a client");
        let handle = runtime.handle().clone();
        drop(runtime);
        let read = client.read::<_, RangeResponse>(call::RANGE, RangeRequest::default());
        assert!(handle.block_on(read).is_err());
    }
}
