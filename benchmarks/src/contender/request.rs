//! An append on its way to the one that writes.

use tokio::sync::oneshot;

use crate::contender::Outcome;

/// What a client asks the one writer of a contender to append.
pub(crate) struct Request {
    stream: u64,
    payloads: Vec<Vec<u8>>,
    expected: Option<u64>,
    reply: Reply,
}

/// The way back to the client.
pub(crate) struct Reply(oneshot::Sender<Outcome>);

impl Request {
    /// A request, and where its outcome will be.
    pub(crate) fn new(
        stream: u64,
        payloads: Vec<Vec<u8>>,
        expected: Option<u64>,
    ) -> (Self, oneshot::Receiver<Outcome>) {
        let (sender, outcome) = oneshot::channel();
        let request = Self {
            stream,
            payloads,
            expected,
            reply: Reply(sender),
        };
        (request, outcome)
    }

    /// Takes the way back out, to be used when the request is done.
    pub(crate) fn into_parts(self) -> (u64, Vec<Vec<u8>>, Option<u64>, Reply) {
        (self.stream, self.payloads, self.expected, self.reply)
    }
}

impl Reply {
    /// Tells the client, unless it no longer waits.
    pub(crate) fn send(self, outcome: Outcome) {
        let _ = self.0.send(outcome);
    }
}
