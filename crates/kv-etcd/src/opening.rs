//! Making sure that what is at the prefix is a store of this make.

use kv_core::{Error, Result};

use crate::client::Client;
use crate::error::Failure;
use crate::layout::{FORMAT, Layout};
use crate::messages::{Compare, PutRequest, Request, TxnRequest, TxnResponse, call};
use crate::options::Options;
use crate::reads::point;

impl Client {
    /// Marks the prefix as that of a store, or checks the mark that is there.
    pub(crate) async fn claim(&self, layout: &Layout, options: &Options) -> Result<()> {
        let mark = PutRequest {
            key: layout.format(),
            value: FORMAT.into(),
        };
        let request = TxnRequest {
            compare: vec![Compare::is_absent(layout.format())],
            success: vec![Request::Put(mark).into()],
            failure: vec![Request::Range(point(layout.format())).into()],
        };
        // The mark is the same whoever puts it, and however often.
        let reply: TxnResponse = self.read(call::TXN, request).await.map_err(Failure::of_read)?;
        if reply.succeeded {
            return Ok(());
        }
        let mut found = reply.responses.into_iter().filter_map(|it| it.range);
        let found = found.next().and_then(|mut range| range.kvs.pop());
        let found = found.map(|it| it.value).unwrap_or_default();
        if found == FORMAT {
            return Ok(());
        }
        Err(Error::incompatible(
            options.location(),
            format!(
                "it holds something that says {:?}, and not a store of this version; open it with the version that \
                 wrote it, or choose another prefix",
                String::from_utf8_lossy(&found[..found.len().min(64)])
            ),
        ))
    }
}
