//! The bytes are a file of `--storage.path`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aitask_exporter::clock::Timestamp;
use aitask_exporter::exposition::{self, Format, out::Out};
use aitask_exporter::storage::{frame, saved};
use aitask_exporter::store::record::Record;
use aitask_exporter::store::{Snapshot, TasksView};
use aitask_exporter::task::{Common, Task};

const NOW: Timestamp = Timestamp::from_micros(1_750_403_000_000_000);

pub fn run(data: &[u8]) {
    let (payloads, lost) = frame::read(data);
    let read: usize = payloads.iter().map(|payload| payload.len()).sum();
    assert!(read + lost <= data.len(), "{read} bytes read and {lost} lost of {}", data.len());
    // Without the checksums, too: they keep accidents out, and nobody who means it.
    let bare = saved::read(data);
    let mut seen = HashSet::new();
    let mut records = Vec::new();
    for saved in payloads.into_iter().filter_map(saved::read).chain(bare) {
        let labels = Arc::from([]);
        let common =
            Common { provider: saved.provider, labels: Arc::clone(&labels), params: labels };
        let task = Task { id: (&*saved.id).into(), common: Arc::new(common) };
        // What was read can be written, and is then the same.
        let mut frames = Vec::new();
        saved::push(saved.sequence, &task, &saved.known, &mut frames);
        let (again, lost) = frame::read(&frames);
        let again = again.first().and_then(|payload| saved::read(payload)).unwrap();
        assert_eq!((format!("{:?}", again.known), lost), (format!("{:?}", saved.known), 0));
        if seen.insert((Arc::clone(&task.common.provider), task.id.to_string())) {
            records.push(Record { task, known: saved.known });
        }
    }
    let snapshot = Snapshot::of(vec![TasksView::of(records, Duration::from_secs(600))], NOW);
    let mut out = Out::new(false, Vec::new()).unwrap();
    exposition::write(Format::Text, &snapshot, &[], &mut out).unwrap();
    let text = String::from_utf8(out.finish().unwrap()).unwrap();
    let shown = text.lines().filter(|line| line.starts_with("aitask_status{")).count();
    assert_eq!(shown, seen.len());
}
