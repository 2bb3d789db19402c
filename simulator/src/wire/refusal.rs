//! The bodies of errors.

use http::StatusCode;
use serde_json::{Value, json};

/// An error to be worded.
pub struct Refusal<'a> {
    /// What is wrong, as HTTP says it; 200 where a code alone tells.
    pub cause: StatusCode,
    /// The code to tell; without it the one that the system has for the cause.
    pub code: Option<&'a Value>,
    /// The message to tell.
    pub message: &'a str,
}

impl Refusal<'_> {
    fn code(&self, usual: impl FnOnce(u16) -> Value) -> Value {
        self.code.cloned().unwrap_or_else(|| usual(self.cause.as_u16()))
    }

    fn is_about_credentials(&self) -> bool {
        matches!(self.cause, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    }
}

/// The seed's gateway: the HTTP status again.
pub fn mjdjourney(refusal: &Refusal<'_>) -> Value {
    json!({ "code": refusal.code(Value::from), "message": refusal.message, "data": null })
}

/// Credentials are refused without a word.
pub fn midjourney_proxy(refusal: &Refusal<'_>) -> Value {
    if refusal.is_about_credentials() {
        return Value::Null;
    }
    let code = refusal.code(|cause| if cause == 404 { 3.into() } else { 9.into() });
    json!({ "code": code, "description": refusal.message, "result": null })
}

/// New-api's Midjourney routes.
pub fn new_api_mj(refusal: &Refusal<'_>) -> Value {
    if refusal.is_about_credentials() {
        return new_api(refusal);
    }
    let code = refusal.code(|cause| match cause {
        404 => 4.into(),
        429 => 30.into(),
        _ => 5.into(),
    });
    json!({ "description": refusal.message, "type": "upstream_error", "code": code })
}

/// New-api, and Suno-API, whose form it took over: codes are words.
pub fn new_api_task(refusal: &Refusal<'_>) -> Value {
    if refusal.is_about_credentials() {
        return new_api(refusal);
    }
    let code = refusal.code(|cause| match cause {
        400 => "invalid_request".into(),
        404 => "task_not_exist".into(),
        _ => "get_task_failed".into(),
    });
    json!({ "code": code, "message": refusal.message, "data": null })
}

/// New-api of itself, whatever it passes on.
pub fn new_api(refusal: &Refusal<'_>) -> Value {
    let code = refusal.code(|_| "".into());
    json!({ "error": { "message": refusal.message, "type": "new_api_error", "code": code } })
}

/// OpenAI's form; a code comes in new-api's, which alone tells one so.
pub fn openai_video(refusal: &Refusal<'_>) -> Value {
    if refusal.code.is_some() {
        return new_api_task(refusal);
    }
    let (kind, code) = match refusal.cause.as_u16() {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        429 => ("requests", Some("rate_limit_exceeded")),
        400..500 => ("invalid_request_error", None),
        _ => ("server_error", None),
    };
    json!({ "error": { "message": refusal.message, "type": kind, "param": null, "code": code } })
}

/// Suno's resellers: the HTTP status again.
pub fn suno_record_info(refusal: &Refusal<'_>) -> Value {
    json!({ "code": refusal.code(Value::from), "msg": refusal.message, "data": null })
}

/// Kling has codes of its own for everything.
pub fn kling(refusal: &Refusal<'_>) -> Value {
    let code = refusal.code(|cause| match cause {
        400 => 1200.into(),
        401 => 1004.into(),
        403 => 1103.into(),
        404 => 1203.into(),
        429 => 1302.into(),
        _ => 5000.into(),
    });
    json!({ "code": code, "message": refusal.message, "request_id": "simulated" })
}

/// Zhipu's codes are numbers in text.
pub fn cogvideox(refusal: &Refusal<'_>) -> Value {
    let code = refusal.code(|cause| match cause {
        401 | 403 => "1000".into(),
        404 => "1200".into(),
        429 => "1302".into(),
        _ => "1234".into(),
    });
    json!({ "error": { "code": code, "message": refusal.message } })
}

/// Viggle's errors, behind new-api.
pub fn viggle(refusal: &Refusal<'_>) -> Value {
    if refusal.is_about_credentials() {
        return new_api(refusal);
    }
    let code = refusal.code(|_| 50_001.into());
    json!({ "code": code, "message": refusal.message, "data": null })
}

/// Stability AI has names for errors.
pub fn stability(refusal: &Refusal<'_>) -> Value {
    let name = refusal.message.to_ascii_lowercase().replace(' ', "_");
    json!({ "id": "simulated", "name": name, "errors": [refusal.message] })
}

/// No code, only a text under `detail`.
pub fn detail(refusal: &Refusal<'_>) -> Value {
    json!({ "detail": refusal.message })
}

/// No code, only a text under `error`.
pub fn error(refusal: &Refusal<'_>) -> Value {
    json!({ "error": refusal.message })
}
