#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aitask_exporter_fuzz::targets::data_sources::run(data));
