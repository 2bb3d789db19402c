//! The bytes are a time, a delay or a progress as an API writes it.

use aitask_exporter::clock::Timestamp;
use aitask_exporter::mapping::fields::{DelayFormat, ProgressFormat};
use aitask_exporter::mapping::time::{TimeFormat, zone};

/// 1 January 2000 and 1 January 10000, in microseconds.
const BEGIN: i64 = 946_684_800_000_000;
const END: i64 = 253_402_300_800_000_000;
/// Up to this time, in microseconds, a float of seconds distinguishes microseconds.
const EXACT: i64 = 4_000_000_000_000_000;
/// Moments at which an answer was sent, in microseconds: 1970, 2026, and as late as can be.
const SENT: [i64; 3] = [0, 1_796_022_000_000_000, i64::MAX];

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let own = zone(&text).map(|zone| ("its own zone", TimeFormat::Rfc3339(zone)));
    for (name, format) in TimeFormat::NAMES.into_iter().chain(own) {
        for sent in SENT.map(Timestamp::from_micros) {
            let Ok(Some(moment)) = format.parse(&text, sent) else { continue };
            assert!((BEGIN..END).contains(&moment.micros()), "{name} {text:?}: {moment}");
            assert!(moment.since(sent).as_secs() <= 300, "{name} {text:?}: {moment}");
            if moment.micros() < EXACT {
                let again = TimeFormat::EpochSeconds.parse(&moment.to_string(), sent);
                assert_eq!(again, Ok(Some(moment)), "{name} {text:?}");
            }
        }
    }
    for (name, format) in ProgressFormat::NAMES {
        let progress = format.parse(&text).unwrap_or_default();
        assert!((0.0..=1.0).contains(&progress), "{name} {text:?}: {progress}");
    }
    for (name, format) in DelayFormat::NAMES {
        let delay = format.parse(&text).unwrap_or_default();
        assert!(delay.as_secs() <= 31_536_000 && delay.subsec_nanos() == 0, "{name} {text:?}");
    }
}
