//! URLs: each is opened or refused. No backend but `memory:` is in this build, so nothing is written.
#![no_main]

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
});

libfuzzer_sys::fuzz_target!(|url: &str| {
    let opened = RUNTIME.block_on(eventstores::connect(url));
    if let Err(error) = opened {
        assert!(!error.to_string().is_empty());
    }
});
