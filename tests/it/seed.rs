//! The response that was recorded at the real gateway, through the whole program.

use crate::harness::{Exporter, Gateway, until};

#[test]
fn the_recorded_answer_is_understood() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\n\
         tasks: [42a28dda-dc7a-4186-ac86-6e16c1fcef17, queued-1]\n",
        gateway.provider("mjdjourney", "")
    ));
    let task = [("provider", "mjdjourney"), ("task_id", "42a28dda-dc7a-4186-ac86-6e16c1fcef17")];
    let samples = exporter.await_value("aitask_up", &task, 1.0);
    let status = |label| samples.label("aitask_status", &task, label);
    assert_eq!(status("status"), Some("completed"));
    assert_eq!(status("state"), Some("succeeded"));
    let enqueued = samples.find("aitask_enqueue_timestamp_seconds", &task);
    let [(labels, value)] = enqueued[..] else { panic!("{enqueued:?}") };
    assert_eq!((&*labels["since"], value), ("api", 1_750_402_472.303_527));
    let written = "since=\"api\"} 1750402472.303527\n";
    assert!(exporter.get("/metrics").text().contains(written));
    let job_type = samples.label("aitask_info", &task, "job_type");
    assert_eq!(job_type, Some("vid_1.1_i2v_render_b_joint_video"));
    assert!(samples.value("aitask_response_codes_total", &[("code", "0")]) >= Some(1.0));
    assert_eq!(samples.find("aitask_response_codes_total", &[]).len(), 1);
    assert_eq!(samples.find("aitask_error", &task).len(), 0);
    // Final at first sight: no age, no duration, not counted as finished, and never polled again.
    assert_eq!(samples.find("aitask_queue_age_seconds", &task).len(), 0);
    assert_eq!(samples.find("aitask_duration_seconds", &task).len(), 0);
    assert_eq!(samples.value("aitask_finished_total", &[("state", "succeeded")]), Some(0.0));
    assert_eq!(samples.value("aitask_tasks", &[("state", "succeeded")]), Some(1.0));
    until("the other task is polled again and again", || gateway.requests("queued-1") > 3);
    assert_eq!(gateway.requests("42a28dda-dc7a-4186-ac86-6e16c1fcef17"), 1);
}
