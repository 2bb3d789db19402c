//! The words for a task: the JSON in which each system tells of one.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::life::{Moment, Status};

const PROMPT: &str = "a lighthouse in a storm";

/// A task to be worded.
pub struct Telling<'a> {
    /// Its ID.
    pub id: &'a str,
    /// The system's word for how it stands.
    pub word: &'a str,
    /// How it stands.
    pub moment: &'a Moment,
    /// How the system writes a time.
    pub time: fn(Option<Timestamp>) -> Value,
}

impl Telling<'_> {
    fn enqueued(&self) -> Value {
        (self.time)(Some(self.moment.enqueued))
    }

    fn started(&self) -> Value {
        (self.time)(self.moment.started)
    }

    fn changed(&self) -> Value {
        (self.time)(Some(self.moment.changed))
    }

    fn ended(&self) -> Value {
        (self.time)(self.moment.ended())
    }

    fn percent(&self) -> String {
        format!("{}%", self.moment.percent)
    }

    fn ratio(&self) -> f64 {
        f64::from(self.moment.percent) / 100.0
    }

    /// The `value` of a field that is null until the task is completed.
    fn once_completed(&self, value: impl Into<Value>) -> Value {
        self.only(&Status::Completed, value)
    }

    /// The `value` of a field that is null unless the task has failed.
    fn once_failed(&self, value: impl Into<Value>) -> Value {
        self.only(&Status::Failed, value)
    }

    fn only(&self, status: &Status, value: impl Into<Value>) -> Value {
        if self.moment.status == *status { value.into() } else { Value::Null }
    }

    fn link(&self, name: &str) -> String {
        format!("https://cdn.example/{}/{name}", self.id)
    }
}

/// The seed's gateway, as it was recorded.
pub fn mjdjourney(told: &Telling<'_>) -> Value {
    let mut task = json!({
        "taskId": told.id,
        "prompt": format!("{PROMPT} --ar 128:121 --video 1"),
        "imageUrl": told.link("0.jpg"),
        "enqueue_time": told.enqueued(),
        "width": 640,
        "height": 608,
        "batch_size": 4,
        "status": told.word,
        "job_type": "vid_1.1_i2v_render_b_joint_video",
    });
    if let (Status::Completed, Some(task)) = (&told.moment.status, task.as_object_mut()) {
        let url = |n| format!("https://cdn.example/video/{}/{n}.mp4", told.id);
        task.insert("video_url".to_owned(), url(0).into());
        task.insert("video_urls".to_owned(), (0..4).map(url).collect());
    }
    task
}

/// Tells what the user cancelled as a failure with a certain reason.
pub fn midjourney_proxy(told: &Telling<'_>) -> Value {
    let reason = match told.moment.status {
        Status::Cancelled => "取消任务".into(),
        _ => told.once_failed("the prompt was refused"),
    };
    json!({
        "id": told.id,
        "action": "IMAGINE",
        "prompt": PROMPT,
        "promptEn": PROMPT,
        "description": format!("/imagine {PROMPT}"),
        "state": null,
        "submitTime": told.enqueued(),
        "startTime": told.started(),
        "finishTime": told.ended(),
        "imageUrl": told.once_completed(told.link("0.png")),
        "status": told.word,
        "progress": told.percent(),
        "failReason": reason,
    })
}

/// Has an empty text where midjourney-proxy has null.
pub fn new_api_mj(told: &Telling<'_>) -> Value {
    let text = |value: Value| if value.is_null() { "".into() } else { value };
    json!({
        "id": told.id,
        "action": "IMAGINE",
        "customId": "",
        "prompt": PROMPT,
        "promptEn": PROMPT,
        "description": "",
        "state": "",
        "submitTime": told.enqueued(),
        "startTime": told.started(),
        "finishTime": told.ended(),
        "imageUrl": text(told.once_completed(told.link("0.png"))),
        "videoUrls": null,
        "status": told.word,
        "progress": told.percent(),
        "failReason": text(told.once_failed("the prompt was refused")),
        "properties": null,
    })
}

/// Tells the result's URL as the reason of a failure.
pub fn new_api_task(told: &Telling<'_>) -> Value {
    let reason = match told.moment.status {
        Status::Completed => told.link("song.mp3"),
        Status::Failed => "the lyrics were refused".to_owned(),
        _ => String::new(),
    };
    json!({
        "task_id": told.id,
        "action": "MUSIC",
        "status": told.word,
        "fail_reason": reason,
        "submit_time": told.enqueued(),
        "start_time": told.started(),
        "finish_time": told.ended(),
        "progress": told.percent(),
        "data": null,
    })
}

/// The task's data are its clips, which have statuses of their own.
pub fn suno_api(told: &Telling<'_>) -> Value {
    json!({
        "task_id": told.id,
        "notify_hook": "",
        "action": "MUSIC",
        "status": told.word,
        "fail_reason": told.once_failed("the lyrics were refused").as_str().unwrap_or_default(),
        "submit_time": told.enqueued(),
        "start_time": told.started(),
        "finish_time": told.ended(),
        "data": [{ "id": "clip", "status": "streaming" }],
    })
}

/// Suno's resellers tell no times.
pub fn suno_record_info(told: &Telling<'_>) -> Value {
    json!({
        "taskId": told.id,
        "parentMusicId": "",
        "param": json!({ "prompt": PROMPT }).to_string(),
        "response": told.once_completed(json!({ "sunoData": [{ "id": "clip" }] })),
        "status": told.word,
        "type": "GENERATE",
        "errorCode": told.once_failed(531),
        "errorMessage": told.once_failed("no audio was made"),
    })
}

/// OpenAI's video object.
pub fn openai_video(told: &Telling<'_>) -> Value {
    let error = json!({ "code": "moderation_blocked", "message": "the prompt was refused" });
    json!({
        "id": told.id,
        "object": "video",
        "model": "sora-2",
        "status": told.word,
        "progress": told.moment.percent,
        "created_at": told.enqueued(),
        "completed_at": told.only(&Status::Completed, told.ended()),
        "seconds": "8",
        "size": "720x1280",
        "error": told.once_failed(error),
    })
}

/// Flux tells no times, and no progress unless it is running.
pub fn bfl_flux(told: &Telling<'_>) -> Value {
    json!({
        "id": told.id,
        "status": told.word,
        "result": told.once_completed(json!({ "sample": told.link("0.jpeg") })),
        "progress": told.only(&Status::Running, told.ratio()),
        "details": null,
        "preview": null,
    })
}

/// Ideogram's generation.
pub fn ideogram(told: &Telling<'_>) -> Value {
    json!({
        "generation_id": told.id,
        "status": told.word,
        "created": told.enqueued(),
        "data": told.once_completed(json!([{ "url": told.link("0.png") }])),
        "failure_reason": told.once_failed("the prompt was refused"),
    })
}

/// Kling's first version.
pub fn kling(told: &Telling<'_>) -> Value {
    json!({
        "task_id": told.id,
        "task_status": told.word,
        "task_status_msg": told.once_failed("risk control").as_str().unwrap_or_default(),
        "task_info": { "external_task_id": "" },
        "created_at": told.enqueued(),
        "updated_at": told.changed(),
        "task_result": told.once_completed(json!({ "videos": [{ "url": told.link("0.mp4") }] })),
    })
}

/// Kling's newer version.
pub fn kling_tasks(told: &Telling<'_>) -> Value {
    let output = json!([{ "type": "video", "url": told.link("0.mp4") }]);
    json!({
        "id": told.id,
        "status": told.word,
        "message": told.once_failed("risk control").as_str().unwrap_or_default(),
        "create_time": told.enqueued(),
        "update_time": told.changed(),
        "outputs": told.once_completed(output),
    })
}

/// Luma's web site, as gateways pass it on.
pub fn luma_gateway(told: &Telling<'_>) -> Value {
    json!({
        "id": told.id,
        "prompt": PROMPT,
        "state": told.word,
        "created_at": told.enqueued(),
        "video": told.once_completed(json!({ "url": told.link("0.mp4") })),
        "estimate_wait_seconds": null,
    })
}

/// Luma's generation.
pub fn luma(told: &Telling<'_>) -> Value {
    json!({
        "id": told.id,
        "generation_type": "video",
        "state": told.word,
        "failure_reason": told.once_failed("the prompt was refused"),
        "created_at": told.enqueued(),
        "assets": told.once_completed(json!({ "video": told.link("0.mp4") })),
        "model": "ray-2",
        "request": { "prompt": PROMPT },
    })
}

/// Runway leaves out what there is not.
pub fn runway(told: &Telling<'_>) -> Value {
    let mut task = json!({
        "id": told.id,
        "createdAt": told.enqueued(),
        "status": told.word,
        "progress": told.only(&Status::Running, told.ratio()),
        "output": told.once_completed(json!([told.link("0.mp4")])),
        "failure": told.once_failed("the prompt was refused"),
        "failureCode": told.once_failed("SAFETY.INPUT.TEXT"),
    });
    if let Some(task) = task.as_object_mut() {
        task.retain(|_, field| !field.is_null());
    }
    task
}

/// Runway's web site, as gateways pass it on; its progress is text.
pub fn runway_gateway(told: &Telling<'_>) -> Value {
    json!({
        "id": told.id,
        "name": PROMPT,
        "createdAt": told.enqueued(),
        "updatedAt": told.changed(),
        "taskType": "gen3a_turbo",
        "options": { "text_prompt": PROMPT },
        "status": told.word,
        "error": told.once_failed("SAFETY.INPUT.TEXT"),
        "progressRatio": told.ratio().to_string(),
        "artifacts": told.once_completed(json!([{ "url": told.link("0.mp4") }])),
    })
}

/// CogVideoX names no ID and tells no times.
pub fn cogvideox(told: &Telling<'_>) -> Value {
    let mut task = json!({
        "model": "cogvideox-3",
        "request_id": "simulated",
        "task_status": told.word,
        "video_result": told.once_completed(json!([{ "url": told.link("0.mp4") }])),
        "error": told.once_failed(json!({ "code": "1301", "message": "the prompt was refused" })),
    });
    if let Some(task) = task.as_object_mut() {
        task.retain(|_, field| !field.is_null());
    }
    task
}

/// Viggle's statuses are numbers.
pub fn viggle(told: &Telling<'_>) -> Value {
    let status = told.word.parse::<i64>().map_or(told.word.into(), Value::from);
    json!({
        "taskID": told.id,
        "subTaskType": "",
        "name": PROMPT,
        "createdAt": told.enqueued(),
        "status": status,
        "result": told.once_completed(told.link("0.mp4")).as_str().unwrap_or_default(),
    })
}
