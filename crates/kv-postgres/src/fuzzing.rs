//! What the fuzz targets need to reach. Not for users.

use kv_core::Result;

/// Takes a URL apart as [`Store::open`](crate::Store::open) does: what messages call the store then.
///
/// # Errors
/// What the URL is refused with.
pub fn parse(url: &str) -> Result<String> {
    crate::url::parse(url).map(|target| target.location)
}
