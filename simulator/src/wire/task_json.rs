//! Task bodies: the JSON in which each system reports a task.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::lifecycle::{Status, TaskState};

const PROMPT: &str = "a lighthouse in a storm";

/// A task as the formatting functions see it.
pub(crate) struct TaskView<'a> {
    /// ID of the task.
    pub(crate) id: &'a str,
    /// Word of the system for the status.
    pub(crate) status_word: &'a str,
    /// State of the task.
    pub(crate) state: &'a TaskState,
    /// Formats a timestamp, or the absence of one, as the system does.
    pub(crate) format_time: fn(Option<Timestamp>) -> Value,
}

impl TaskView<'_> {
    fn enqueued_at(&self) -> Value {
        (self.format_time)(Some(self.state.enqueued_at))
    }

    fn started_at(&self) -> Value {
        (self.format_time)(self.state.started_at)
    }

    fn changed_at(&self) -> Value {
        (self.format_time)(Some(self.state.changed_at))
    }

    fn ended_at(&self) -> Value {
        (self.format_time)(self.state.ended_at())
    }

    fn progress_text(&self) -> String {
        format!("{}%", self.state.progress_percent)
    }

    fn progress_ratio(&self) -> f64 {
        f64::from(self.state.progress_percent) / 100.0
    }

    /// Returns the `value` of a field that is null unless the task is completed.
    fn if_completed(&self, value: impl Into<Value>) -> Value {
        self.if_status(&Status::Completed, value)
    }

    /// Returns the `value` of a field that is null unless the task has failed.
    fn if_failed(&self, value: impl Into<Value>) -> Value {
        self.if_status(&Status::Failed, value)
    }

    fn if_status(&self, status: &Status, value: impl Into<Value>) -> Value {
        if self.state.status == *status { value.into() } else { Value::Null }
    }

    fn asset_url(&self, name: &str) -> String {
        format!("https://cdn.example/{}/{name}", self.id)
    }
}

/// Formats a task of the gateway behind the `mjdjourney` preset, as recorded.
pub(crate) fn mjdjourney(task: &TaskView<'_>) -> Value {
    let mut value = json!({
        "taskId": task.id,
        "prompt": format!("{PROMPT} --ar 128:121 --video 1"),
        "imageUrl": task.asset_url("0.jpg"),
        "enqueue_time": task.enqueued_at(),
        "width": 640,
        "height": 608,
        "batch_size": 4,
        "status": task.status_word,
        "job_type": "vid_1.1_i2v_render_b_joint_video",
    });
    if let (Status::Completed, Some(fields)) = (&task.state.status, value.as_object_mut()) {
        let url = |n| format!("https://cdn.example/video/{}/{n}.mp4", task.id);
        fields.insert("video_url".to_owned(), url(0).into());
        fields.insert("video_urls".to_owned(), (0..4).map(url).collect());
    }
    value
}

/// Formats a task of midjourney-proxy, which reports a cancelled task as failed, with a reason of
/// its own.
pub(crate) fn midjourney_proxy(task: &TaskView<'_>) -> Value {
    let reason = match task.state.status {
        Status::Cancelled => "取消任务".into(),
        _ => task.if_failed("the prompt was refused"),
    };
    json!({
        "id": task.id,
        "action": "IMAGINE",
        "prompt": PROMPT,
        "promptEn": PROMPT,
        "description": format!("/imagine {PROMPT}"),
        "state": null,
        "submitTime": task.enqueued_at(),
        "startTime": task.started_at(),
        "finishTime": task.ended_at(),
        "imageUrl": task.if_completed(task.asset_url("0.png")),
        "status": task.status_word,
        "progress": task.progress_text(),
        "failReason": reason,
    })
}

/// Formats a task of new-api's Midjourney routes, which have an empty string where midjourney-proxy
/// has null.
pub(crate) fn new_api_mj(task: &TaskView<'_>) -> Value {
    let text = |value: Value| if value.is_null() { "".into() } else { value };
    json!({
        "id": task.id,
        "action": "IMAGINE",
        "customId": "",
        "prompt": PROMPT,
        "promptEn": PROMPT,
        "description": "",
        "state": "",
        "submitTime": task.enqueued_at(),
        "startTime": task.started_at(),
        "finishTime": task.ended_at(),
        "imageUrl": text(task.if_completed(task.asset_url("0.png"))),
        "videoUrls": null,
        "status": task.status_word,
        "progress": task.progress_text(),
        "failReason": text(task.if_failed("the prompt was refused")),
        "properties": null,
    })
}

/// Formats a task of new-api, which puts the URL of a result in the field of the failure reason.
pub(crate) fn new_api_task(task: &TaskView<'_>) -> Value {
    let reason = match task.state.status {
        Status::Completed => task.asset_url("song.mp3"),
        Status::Failed => "the lyrics were refused".to_owned(),
        _ => String::new(),
    };
    json!({
        "task_id": task.id,
        "action": "MUSIC",
        "status": task.status_word,
        "fail_reason": reason,
        "submit_time": task.enqueued_at(),
        "start_time": task.started_at(),
        "finish_time": task.ended_at(),
        "progress": task.progress_text(),
        "data": null,
    })
}

/// Formats a task of Suno-API; its data are clips, which have statuses of their own.
pub(crate) fn suno_api(task: &TaskView<'_>) -> Value {
    json!({
        "task_id": task.id,
        "notify_hook": "",
        "action": "MUSIC",
        "status": task.status_word,
        "fail_reason": task.if_failed("the lyrics were refused").as_str().unwrap_or_default(),
        "submit_time": task.enqueued_at(),
        "start_time": task.started_at(),
        "finish_time": task.ended_at(),
        "data": [{ "id": "clip", "status": "streaming" }],
    })
}

/// Formats a task of Suno's resellers, which report no times.
pub(crate) fn suno_record_info(task: &TaskView<'_>) -> Value {
    json!({
        "taskId": task.id,
        "parentMusicId": "",
        "param": json!({ "prompt": PROMPT }).to_string(),
        "response": task.if_completed(json!({ "sunoData": [{ "id": "clip" }] })),
        "status": task.status_word,
        "type": "GENERATE",
        "errorCode": task.if_failed(531),
        "errorMessage": task.if_failed("no audio was made"),
    })
}

/// Formats a video object of OpenAI.
pub(crate) fn openai_video(task: &TaskView<'_>) -> Value {
    let error = json!({ "code": "moderation_blocked", "message": "the prompt was refused" });
    json!({
        "id": task.id,
        "object": "video",
        "model": "sora-2",
        "status": task.status_word,
        "progress": task.state.progress_percent,
        "created_at": task.enqueued_at(),
        "completed_at": task.if_status(&Status::Completed, task.ended_at()),
        "seconds": "8",
        "size": "720x1280",
        "error": task.if_failed(error),
    })
}

/// Formats a task of BFL's Flux, which reports no times, and progress only while the task is
/// running.
pub(crate) fn bfl_flux(task: &TaskView<'_>) -> Value {
    json!({
        "id": task.id,
        "status": task.status_word,
        "result": task.if_completed(json!({ "sample": task.asset_url("0.jpeg") })),
        "progress": task.if_status(&Status::Running, task.progress_ratio()),
        "details": null,
        "preview": null,
    })
}

/// Formats a generation of Ideogram.
pub(crate) fn ideogram(task: &TaskView<'_>) -> Value {
    json!({
        "generation_id": task.id,
        "status": task.status_word,
        "created": task.enqueued_at(),
        "data": task.if_completed(json!([{ "url": task.asset_url("0.png") }])),
        "failure_reason": task.if_failed("the prompt was refused"),
    })
}

/// Formats a task of Kling's first API.
pub(crate) fn kling(task: &TaskView<'_>) -> Value {
    json!({
        "task_id": task.id,
        "task_status": task.status_word,
        "task_status_msg": task.if_failed("risk control").as_str().unwrap_or_default(),
        "task_info": { "external_task_id": "" },
        "created_at": task.enqueued_at(),
        "updated_at": task.changed_at(),
        "task_result": task.if_completed(json!({ "videos": [{ "url": task.asset_url("0.mp4") }] })),
    })
}

/// Formats a task of Kling's newer API.
pub(crate) fn kling_tasks(task: &TaskView<'_>) -> Value {
    let output = json!([{ "type": "video", "url": task.asset_url("0.mp4") }]);
    json!({
        "id": task.id,
        "status": task.status_word,
        "message": task.if_failed("risk control").as_str().unwrap_or_default(),
        "create_time": task.enqueued_at(),
        "update_time": task.changed_at(),
        "outputs": task.if_completed(output),
    })
}

/// Formats a generation of Luma's web site, as gateways forward it.
pub(crate) fn luma_gateway(task: &TaskView<'_>) -> Value {
    json!({
        "id": task.id,
        "prompt": PROMPT,
        "state": task.status_word,
        "created_at": task.enqueued_at(),
        "video": task.if_completed(json!({ "url": task.asset_url("0.mp4") })),
        "estimate_wait_seconds": null,
    })
}

/// Formats a generation of Luma.
pub(crate) fn luma(task: &TaskView<'_>) -> Value {
    json!({
        "id": task.id,
        "generation_type": "video",
        "state": task.status_word,
        "failure_reason": task.if_failed("the prompt was refused"),
        "created_at": task.enqueued_at(),
        "assets": task.if_completed(json!({ "video": task.asset_url("0.mp4") })),
        "model": "ray-2",
        "request": { "prompt": PROMPT },
    })
}

/// Formats a task of Runway, which omits fields without a value.
pub(crate) fn runway(task: &TaskView<'_>) -> Value {
    let mut value = json!({
        "id": task.id,
        "createdAt": task.enqueued_at(),
        "status": task.status_word,
        "progress": task.if_status(&Status::Running, task.progress_ratio()),
        "output": task.if_completed(json!([task.asset_url("0.mp4")])),
        "failure": task.if_failed("the prompt was refused"),
        "failureCode": task.if_failed("SAFETY.INPUT.TEXT"),
    });
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, field| !field.is_null());
    }
    value
}

/// Formats a task of Runway's web site, as gateways forward it; the progress is a string.
pub(crate) fn runway_gateway(task: &TaskView<'_>) -> Value {
    json!({
        "id": task.id,
        "name": PROMPT,
        "createdAt": task.enqueued_at(),
        "updatedAt": task.changed_at(),
        "taskType": "gen3a_turbo",
        "options": { "text_prompt": PROMPT },
        "status": task.status_word,
        "error": task.if_failed("SAFETY.INPUT.TEXT"),
        "progressRatio": task.progress_ratio().to_string(),
        "artifacts": task.if_completed(json!([{ "url": task.asset_url("0.mp4") }])),
    })
}

/// Formats a task of CogVideoX, which reports neither ID nor times.
pub(crate) fn cogvideox(task: &TaskView<'_>) -> Value {
    let mut value = json!({
        "model": "cogvideox-3",
        "request_id": "simulated",
        "task_status": task.status_word,
        "video_result": task.if_completed(json!([{ "url": task.asset_url("0.mp4") }])),
        "error": task.if_failed(json!({ "code": "1301", "message": "the prompt was refused" })),
    });
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, field| !field.is_null());
    }
    value
}

/// Formats a task of Viggle; statuses are numbers.
pub(crate) fn viggle(task: &TaskView<'_>) -> Value {
    let status = task.status_word.parse::<i64>().map_or(task.status_word.into(), Value::from);
    json!({
        "taskID": task.id,
        "subTaskType": "",
        "name": PROMPT,
        "createdAt": task.enqueued_at(),
        "status": status,
        "result": task.if_completed(task.asset_url("0.mp4")).as_str().unwrap_or_default(),
    })
}
