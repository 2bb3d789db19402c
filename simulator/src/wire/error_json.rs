//! The bodies of errors.

use http::StatusCode;
use serde_json::{Value, json};

/// An error to be worded.
pub(crate) struct ErrorView<'a> {
    /// What is wrong, as HTTP says it; 200 where a code alone tells.
    pub(crate) cause: StatusCode,
    /// The code to tell; without it the one that the system has for the cause.
    pub(crate) code: Option<&'a Value>,
    /// The message to tell.
    pub(crate) message: &'a str,
}

impl ErrorView<'_> {
    fn code_or(&self, default_code: impl FnOnce(u16) -> Value) -> Value {
        self.code.cloned().unwrap_or_else(|| default_code(self.cause.as_u16()))
    }

    fn is_about_credentials(&self) -> bool {
        matches!(self.cause, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    }
}

/// The seed's gateway: the HTTP status again.
pub(crate) fn mjdjourney(error: &ErrorView<'_>) -> Value {
    json!({ "code": error.code_or(Value::from), "message": error.message, "data": null })
}

/// Credentials are refused without a word.
pub(crate) fn midjourney_proxy(error: &ErrorView<'_>) -> Value {
    if error.is_about_credentials() {
        return Value::Null;
    }
    let code = error.code_or(|cause| if cause == 404 { 3.into() } else { 9.into() });
    json!({ "code": code, "description": error.message, "result": null })
}

/// New-api's Midjourney routes.
pub(crate) fn new_api_mj(error: &ErrorView<'_>) -> Value {
    if error.is_about_credentials() {
        return new_api(error);
    }
    let code = error.code_or(|cause| match cause {
        404 => 4.into(),
        429 => 30.into(),
        _ => 5.into(),
    });
    json!({ "description": error.message, "type": "upstream_error", "code": code })
}

/// New-api, and Suno-API, whose form it took over: codes are words.
pub(crate) fn new_api_task(error: &ErrorView<'_>) -> Value {
    if error.is_about_credentials() {
        return new_api(error);
    }
    let code = error.code_or(|cause| match cause {
        400 => "invalid_request".into(),
        404 => "task_not_exist".into(),
        _ => "get_task_failed".into(),
    });
    json!({ "code": code, "message": error.message, "data": null })
}

/// New-api of itself, whatever it passes on.
pub(crate) fn new_api(error: &ErrorView<'_>) -> Value {
    let code = error.code_or(|_| "".into());
    json!({ "error": { "message": error.message, "type": "new_api_error", "code": code } })
}

/// OpenAI's form; a code comes in new-api's, which alone tells one so.
pub(crate) fn openai_video(error: &ErrorView<'_>) -> Value {
    if error.code.is_some() {
        return new_api_task(error);
    }
    let (kind, code) = match error.cause.as_u16() {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        429 => ("requests", Some("rate_limit_exceeded")),
        400..500 => ("invalid_request_error", None),
        _ => ("server_error", None),
    };
    json!({ "error": { "message": error.message, "type": kind, "param": null, "code": code } })
}

/// Suno's resellers: the HTTP status again.
pub(crate) fn suno_record_info(error: &ErrorView<'_>) -> Value {
    json!({ "code": error.code_or(Value::from), "msg": error.message, "data": null })
}

/// Kling has codes of its own for everything.
pub(crate) fn kling(error: &ErrorView<'_>) -> Value {
    let code = error.code_or(|cause| match cause {
        400 => 1200.into(),
        401 => 1004.into(),
        403 => 1103.into(),
        404 => 1203.into(),
        429 => 1302.into(),
        _ => 5000.into(),
    });
    json!({ "code": code, "message": error.message, "request_id": "simulated" })
}

/// Zhipu's codes are numbers in text.
pub(crate) fn cogvideox(error: &ErrorView<'_>) -> Value {
    let code = error.code_or(|cause| match cause {
        401 | 403 => "1000".into(),
        404 => "1200".into(),
        429 => "1302".into(),
        _ => "1234".into(),
    });
    json!({ "error": { "code": code, "message": error.message } })
}

/// Viggle's errors, behind new-api.
pub(crate) fn viggle(error: &ErrorView<'_>) -> Value {
    if error.is_about_credentials() {
        return new_api(error);
    }
    let code = error.code_or(|_| 50_001.into());
    json!({ "code": code, "message": error.message, "data": null })
}

/// Stability AI has names for errors.
pub(crate) fn stability(error: &ErrorView<'_>) -> Value {
    let name = error.message.to_ascii_lowercase().replace(' ', "_");
    json!({ "id": "simulated", "name": name, "errors": [error.message] })
}

/// No code, only a text under `detail`.
pub(crate) fn message_in_detail(error: &ErrorView<'_>) -> Value {
    json!({ "detail": error.message })
}

/// No code, only a text under `error`.
pub(crate) fn message_in_error(error: &ErrorView<'_>) -> Value {
    json!({ "error": error.message })
}
