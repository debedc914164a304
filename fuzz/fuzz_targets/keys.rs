//! The key layout, on any names and numbers.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: ([String; 4], [u64; 2], Vec<u8>)| {
    let (names, versions, other) = input;
    let names = names.each_ref().map(String::as_str);
    eventstore_kv::fuzzing::lay_out(names, versions, &other);
});
