//! The bytes are a file of `--storage.path`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aitask_exporter::clock::Timestamp;
use aitask_exporter::exposition::{self, Format, out::Out};
use aitask_exporter::storage::left::Left;
use aitask_exporter::storage::saved::{self, Changed, Saved};
use aitask_exporter::storage::{frame, mark};
use aitask_exporter::store::record::Record;
use aitask_exporter::store::{Snapshot, TasksView};
use aitask_exporter::task::{Common, Task};

const NOW: Timestamp = Timestamp::from_micros(1_750_403_000_000_000);

pub fn run(data: &[u8]) {
    mark::read(data);
    let left = Left::read(data, &[(0, data.to_vec())]);
    let (payloads, lost) = frame::read(data);
    let read: usize = payloads.iter().map(|payload| payload.len()).sum();
    assert!(left.lost >= 2 * lost);
    assert!(read + lost <= data.len(), "{read} bytes read and {lost} lost of {}", data.len());
    // Without the checksums, too: they keep accidents out, and nobody who means it.
    let bare = saved::read(data);
    let mut seen = HashSet::new();
    let mut records = Vec::new();
    for saved in payloads.into_iter().filter_map(saved::read).chain(bare) {
        // What was read can be written, and is then the same.
        let (read, mut frames) = (format!("{saved:?}"), Vec::new());
        match saved {
            Saved::Finish(finish) => saved::push_finish(&finish, &mut frames),
            Saved::End(end) => saved::push_end(end, &mut frames),
            Saved::Changed(Changed { sequence, provider, id, known, finished }) => {
                let labels = Arc::from([]);
                let common = Common { provider, labels: Arc::clone(&labels), params: labels };
                let task = Task { id: (&*id).into(), common: Arc::new(common) };
                saved::push(sequence, &task, &known, finished, &mut frames);
                if seen.insert((Arc::clone(&task.common.provider), id)) {
                    records.push(Record { task, known });
                }
            }
        }
        let (again, lost) = frame::read(&frames);
        let again = saved::read(again[0]).unwrap();
        assert_eq!((format!("{again:?}"), lost), (read, 0));
    }
    let snapshot = Snapshot::of(vec![TasksView::of(records, Duration::from_secs(600))], NOW);
    let mut out = Out::new(false, Vec::new()).unwrap();
    exposition::write(Format::Text, &snapshot, &[], &mut out).unwrap();
    let text = String::from_utf8(out.finish().unwrap()).unwrap();
    let shown = text.lines().filter(|line| line.starts_with("aitask_status{")).count();
    assert_eq!(shown, seen.len());
}
