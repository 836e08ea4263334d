#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bemi_fuzz::run("values", data));
