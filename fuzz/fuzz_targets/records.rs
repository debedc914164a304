//! Every decoder of records, on any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|fields: &[u8]| eventstore_kv::fuzzing::decode(fields));
