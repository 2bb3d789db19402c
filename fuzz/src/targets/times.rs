//! The bytes are a moment, or progress, as an API writes it.

use aitask_exporter::mapping::convert::{ProgressFormat, TimeFormat};

/// 1 January 10000, in microseconds.
const END: i64 = 253_402_300_800_000_000;
/// Up to here, in microseconds, a float of seconds tells one microsecond from the next.
const EXACT: i64 = 4_000_000_000_000_000;

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for (name, format) in TimeFormat::NAMES {
        let Ok(Some(moment)) = format.parse(&text) else { continue };
        assert!((1..END).contains(&moment.micros()), "{name} {text:?}: {moment}");
        if moment.micros() < EXACT {
            let again = TimeFormat::EpochSeconds.parse(&moment.to_string());
            assert_eq!(again, Ok(Some(moment)), "{name} {text:?}");
        }
    }
    for (name, format) in ProgressFormat::NAMES {
        let progress = format.parse(&text).unwrap_or_default();
        assert!((0.0..=1.0).contains(&progress), "{name} {text:?}: {progress}");
    }
}
