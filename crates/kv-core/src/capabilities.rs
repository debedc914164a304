//! What an engine promises and accepts.

/// What an engine promises and the sizes it accepts.
///
/// ```
/// use kv_core::Capabilities;
///
/// let capabilities = Capabilities { durable: true, max_value_bytes: 1 << 20, ..Capabilities::IN_PROCESS };
/// assert!(!capabilities.shared);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether data outlives the process: a store that is closed and opened again has what was committed.
    pub durable: bool,
    /// Whether other processes may write to the same data at the same time.
    pub shared: bool,
    /// Longest key, in bytes.
    pub max_key_bytes: usize,
    /// Largest value, in bytes.
    pub max_value_bytes: usize,
    /// Largest sum of the bytes of all keys and values of one batch.
    pub max_batch_bytes: usize,
    /// Most conditions and writes, together, of one batch.
    pub max_batch_operations: usize,
}

impl Capabilities {
    /// Limits that an engine in the process meets without effort; a backend lowers what it must.
    ///
    /// A batch of this size is built in memory and checked before it is applied, so these bound memory too.
    pub const IN_PROCESS: Self = Self {
        durable: false,
        shared: false,
        max_key_bytes: 1024,
        max_value_bytes: 16 << 20,
        max_batch_bytes: 64 << 20,
        max_batch_operations: 1 << 20,
    };
}
