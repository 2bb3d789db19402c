//! The bytes are a file of `--storage.path`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aitask_exporter::clock::Timestamp;
use aitask_exporter::exposition::{self, BodyWriter, Format};
use aitask_exporter::record::TrackedTask;
use aitask_exporter::storage::frame::{self, Frames};
use aitask_exporter::storage::log_record::{
    self, ChangedTask, LogRecord, ProviderFinishes, TaskChange, TaskRemoval,
};
use aitask_exporter::storage::recovery::Recovered;
use aitask_exporter::store::{Snapshot, TaskList};
use aitask_exporter::task::{Task, TaskCommon};
use aitask_exporter::telemetry::Telemetry;

const NOW: Timestamp = Timestamp::from_micros(1_750_403_000_000_000);

pub fn run(data: &[u8]) {
    let recovered = Recovered::read(Some(data), &[(0, data.to_vec()), (7, data.to_vec())]);
    assert!(recovered.known.is_empty(), "no file is both a snapshot and a journal");
    show(&Recovered::read(None, &[(0, data.to_vec())]));
    show(&Recovered::read(Some(data), &[]));
    let Frames { payloads, damaged, torn } = frame::read(data);
    let read: usize = payloads.iter().map(|payload| payload.len()).sum();
    assert!(read + damaged + torn <= data.len(), "{read} read, {damaged} + {torn} not");
    // Decoding is also safe without checksums, which protect against accidents but not against
    // intent.
    let bare = log_record::decode(data);
    let mut seen = HashSet::new();
    let mut records = Vec::new();
    for log_record in payloads.into_iter().filter_map(log_record::decode).chain(bare) {
        // A record that was read can be written, and is the same afterwards.
        let (read, mut frames) = (format!("{log_record:?}"), Vec::new());
        match log_record {
            LogRecord::Finishes(finishes) => {
                let ProviderFinishes { provider, known, shown } = *finishes;
                log_record::encode_finishes(&provider, &known, &shown, &mut frames);
            }
            LogRecord::Begin(first) => log_record::encode_begin(first, &mut frames),
            LogRecord::End(first, count) => log_record::encode_end(first, count, &mut frames),
            LogRecord::Follows(before) => log_record::encode_follows(before, &mut frames),
            LogRecord::Synced(sequence, before) => {
                log_record::encode_synced(sequence, before, &mut frames);
            }
            LogRecord::SyncFailed => log_record::encode_sync_failed(&mut frames),
            LogRecord::TaskRemoval(TaskRemoval { sequence, provider, id }) => {
                let labels = Arc::from([]);
                let common = TaskCommon { provider, labels: Arc::clone(&labels), params: labels };
                let task = Task { id: (&*id).into(), common: Arc::new(common) };
                log_record::encode_removal(sequence, &task, &mut frames);
            }
            LogRecord::TaskChange(TaskChange {
                sequence,
                provider,
                id,
                record,
                finished,
                listing,
            }) => {
                assert!(record.progress().is_none_or(|progress| (0.0..=1.0).contains(&progress)));
                let labels = Arc::from([]);
                let common = TaskCommon { provider, labels: Arc::clone(&labels), params: labels };
                let task = Task { id: (&*id).into(), common: Arc::new(common) };
                let changed =
                    ChangedTask { task: &task, record: &record, listing: listing.as_ref() };
                log_record::encode_change(sequence, changed, finished, &mut frames);
                if seen.insert((Arc::clone(&task.common.provider), id)) {
                    records.push(TrackedTask {
                        record,
                        ..TrackedTask::new(task, Timestamp::from_micros(0))
                    });
                }
            }
        }
        let again = frame::read(&frames);
        assert_eq!((again.damaged, again.torn), (0, 0));
        assert_eq!(format!("{:?}", log_record::decode(again.payloads[0]).unwrap()), read);
    }
    let snapshot = Snapshot::of(vec![TaskList::of(records, Duration::from_secs(600))], NOW);
    let mut out = BodyWriter::new(false, Vec::new()).unwrap();
    exposition::write(Format::Text, &snapshot, &[], &mut out).unwrap();
    let text = String::from_utf8(out.finish().unwrap()).unwrap();
    let shown = text.lines().filter(|line| line.starts_with("aitask_status{")).count();
    assert_eq!(shown, seen.len());
}

/// Asserts that recovered data can be shown, and that nothing else is shown.
fn show(recovered: &Recovered) {
    let telemetry = Telemetry::new();
    for finishes in [&recovered.shown, &recovered.known] {
        telemetry.show_finished(finishes.clone());
        for (provider, totals) in finishes.iter() {
            telemetry.provider(provider);
            assert!(totals.is_plausible());
        }
        telemetry.gather();
    }
    for (provider, shown) in recovered.shown.iter() {
        assert!(recovered.known.get(provider).unwrap().continues(shown));
    }
}
