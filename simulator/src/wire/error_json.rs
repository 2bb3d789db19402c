//! Error bodies: the JSON in which each system reports an error.

use http::StatusCode;
use serde_json::{Value, json};

/// An error as the formatting functions see it.
pub(crate) struct ErrorView<'a> {
    /// HTTP status that names the cause; 200 if only the code reports the error.
    pub(crate) cause: StatusCode,
    /// Error code. Without one the body has the code of the system for the cause.
    pub(crate) code: Option<&'a Value>,
    /// Error message.
    pub(crate) message: &'a str,
}

impl ErrorView<'_> {
    /// Returns the error code, or the system's `default_code` for the HTTP status of the cause.
    fn code_or(&self, default_code: impl FnOnce(u16) -> Value) -> Value {
        self.code.cloned().unwrap_or_else(|| default_code(self.cause.as_u16()))
    }

    fn is_about_credentials(&self) -> bool {
        matches!(self.cause, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    }
}

/// Formats an error of the gateway behind the `mjdjourney` preset; the code is the HTTP status.
pub(crate) fn mjdjourney(error: &ErrorView<'_>) -> Value {
    json!({ "code": error.code_or(Value::from), "message": error.message, "data": null })
}

/// Formats an error of midjourney-proxy, which rejects wrong credentials without a body.
pub(crate) fn midjourney_proxy(error: &ErrorView<'_>) -> Value {
    if error.is_about_credentials() {
        return Value::Null;
    }
    let code = error.code_or(|cause| if cause == 404 { 3.into() } else { 9.into() });
    json!({ "code": code, "description": error.message, "result": null })
}

/// Formats an error of the Midjourney routes of new-api.
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

/// Formats an error of new-api, or of Suno-API, whose format new-api adopted; codes are words.
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

/// Formats an error of new-api itself, whichever upstream a request is for.
pub(crate) fn new_api(error: &ErrorView<'_>) -> Value {
    let code = error.code_or(|_| "".into());
    json!({ "error": { "message": error.message, "type": "new_api_error", "code": code } })
}

/// Formats an error of OpenAI.
///
/// A scripted code has the format of new-api, the only system that reports an error of this API by
/// a code alone.
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

/// Formats an error of Suno's resellers; the code is the HTTP status.
pub(crate) fn suno_record_info(error: &ErrorView<'_>) -> Value {
    json!({ "code": error.code_or(Value::from), "msg": error.message, "data": null })
}

/// Formats an error of Kling, which has a code of its own for each cause.
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

/// Formats an error of Zhipu's CogVideoX; codes are numbers in strings.
pub(crate) fn cogvideox(error: &ErrorView<'_>) -> Value {
    let code = error.code_or(|cause| match cause {
        401 | 403 => "1000".into(),
        404 => "1200".into(),
        429 => "1302".into(),
        _ => "1234".into(),
    });
    json!({ "error": { "code": code, "message": error.message } })
}

/// Formats an error of Viggle behind new-api.
pub(crate) fn viggle(error: &ErrorView<'_>) -> Value {
    if error.is_about_credentials() {
        return new_api(error);
    }
    let code = error.code_or(|_| 50_001.into());
    json!({ "code": code, "message": error.message, "data": null })
}

/// Formats an error of Stability AI, which has names for errors.
pub(crate) fn stability(error: &ErrorView<'_>) -> Value {
    let name = error.message.to_ascii_lowercase().replace(' ', "_");
    json!({ "id": "simulated", "name": name, "errors": [error.message] })
}

/// Formats an error without a code; the message is under `detail`.
pub(crate) fn message_in_detail(error: &ErrorView<'_>) -> Value {
    json!({ "detail": error.message })
}

/// Formats an error without a code; the message is under `error`.
pub(crate) fn message_in_error(error: &ErrorView<'_>) -> Value {
    json!({ "error": error.message })
}
