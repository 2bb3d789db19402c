//! The bytes are a duration.

use std::time::Duration;

use aitask_exporter::duration::{format, parse};

const HUNDRED_YEARS: Duration = Duration::from_secs(100 * 365 * 86_400);

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match parse(&text) {
        Ok(duration) => {
            assert!(duration <= HUNDRED_YEARS, "{text:?} is {duration:?}");
            assert_eq!(parse(&format(duration)), Ok(duration), "{text:?}");
        }
        Err(told) => assert!(told.len() <= text.len() + 200, "{text:?}: {told}"),
    }
}
