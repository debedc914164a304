//! URLs of servers: each is taken apart or refused, and nobody is told the password.
#![no_main]

const PASSWORD: &str = "Pa55word";

libfuzzer_sys::fuzz_target!(|rest: &str| {
    // A file that never ends would be read as a list of certificates.
    if rest.contains("/dev") || rest.contains("/proc") || rest.contains(PASSWORD) {
        return;
    }
    let told = match kv_postgres::fuzzing::parse(&format!("postgres://u:{PASSWORD}@{rest}")) {
        Ok(location) => location,
        Err(error) => error.to_string(),
    };
    assert!(!told.is_empty() && !told.contains(PASSWORD), "{told}");
    let told = match format!("etcd://u:{PASSWORD}@{rest}").parse::<kv_etcd::Options>() {
        Ok(options) => format!("{options:?}"),
        Err(error) => error.to_string(),
    };
    assert!(!told.is_empty() && !told.contains(PASSWORD), "{told}");
});
