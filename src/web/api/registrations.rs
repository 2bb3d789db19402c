//! Registrations of tasks by applications: `PUT` and `DELETE` of one task, `POST` of a list.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use axum::{Extension, Router};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::config::Config;
use crate::discovery::registration::{
    ParsedRegistration, RegistrationList, parse_registration, parse_registrations,
};
use crate::duration;
use crate::reload::registrations::RegistrationError;
use crate::store::registrations::{RegistrationChange, RegistrationOutcome};
use crate::telemetry::registrations::RegistrationResult;
use crate::web::WebState;
use crate::web::middleware::AuthenticatedUser;

/// Maximum size of the body of one registration, in bytes.
const MAX_BODY_BYTES: usize = 64 << 10;
/// Maximum size of a list of registrations, in bytes.
const MAX_LIST_BYTES: usize = 1 << 20;
/// Maximum time for reading a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Time after which it is worth trying again where a limit is reached.
const RETRY_LIMIT: u64 = 60;
/// Time after which it is worth trying again where the storage fails.
const RETRY_STORAGE: u64 = 5;

/// A refusal of a request.
#[derive(Debug)]
struct ReceiverRefusal {
    status: StatusCode,
    message: Cow<'static, str>,
    /// Seconds after which it is worth trying again.
    retry_after: Option<u64>,
}

impl ReceiverRefusal {
    fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), retry_after: None }
    }

    fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    fn unavailable(message: impl Into<Cow<'static, str>>, retry_after: u64) -> Self {
        let retry_after = Some(retry_after);
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }
}

impl From<RegistrationError> for ReceiverRefusal {
    fn from(error: RegistrationError) -> Self {
        Self::unavailable(error.to_string(), RETRY_STORAGE)
    }
}

impl IntoResponse for ReceiverRefusal {
    fn into_response(self) -> Response {
        let Self { status, message, retry_after } = self;
        with_retry_after((status, format!("{message}\n")).into_response(), retry_after)
    }
}

fn with_retry_after(mut response: Response, seconds: Option<u64>) -> Response {
    if let Some(seconds) = seconds {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Returns the routes of requests for one task.
pub fn routes() -> Router<Arc<WebState>> {
    // An ID may contain `/`, which some proxies decode on the way.
    Router::new().route("/api/v1/tasks/{provider}/{*id}", put(register).delete(delete))
}

/// Returns the route of lists.
pub fn list_routes() -> Router<Arc<WebState>> {
    Router::new().route("/api/v1/tasks", post(register_list))
}

/// The path of a request for one task: provider and ID.
type TaskPath = Result<Path<(String, String)>, PathRejection>;
/// The user who sends a request.
type Sender = Option<Extension<AuthenticatedUser>>;

async fn register(
    State(web): State<Arc<WebState>>,
    user: Sender,
    path: TaskPath,
    request: Request,
) -> Response {
    respond(&web, put_task(&web, user, path, request).await)
}

async fn delete(
    State(web): State<Arc<WebState>>,
    user: Sender,
    path: TaskPath,
    uri: Uri,
) -> Response {
    respond(&web, delete_task(&web, user, path, &uri).await)
}

async fn register_list(
    State(web): State<Arc<WebState>>,
    user: Sender,
    request: Request,
) -> Response {
    respond(&web, post_tasks(&web, user, request).await)
}

/// Counts a refusal, and makes it a response.
fn respond(web: &WebState, result: Result<Response, ReceiverRefusal>) -> Response {
    result.unwrap_or_else(|refusal| {
        web.telemetry.registrations.count(RegistrationResult::Rejected, 1);
        refusal.into_response()
    })
}

async fn put_task(
    web: &WebState,
    user: Sender,
    path: TaskPath,
    request: Request,
) -> Result<Response, ReceiverRefusal> {
    let config = web.manager.config();
    check_user(&config, user)?;
    let (provider, id) = task_path(&config, path, request.uri())?;
    let body = read_body(request, MAX_BODY_BYTES).await?;
    let parsed = parse_registration(&config, &provider, &id, &body, web.manager.now());
    let ParsedRegistration { registration, is_cut, .. } =
        parsed.map_err(ReceiverRefusal::bad_request)?;
    let ttl = duration::format(registration.ttl);
    let outcome = apply(web, vec![RegistrationChange::Register(registration)]).await?;
    let (status, result) = match outcome.first() {
        Some(RegistrationOutcome::Created) => (StatusCode::CREATED, RegistrationResult::Created),
        Some(RegistrationOutcome::Renewed) => (StatusCode::OK, RegistrationResult::Renewed),
        Some(other) => return Err(refused(*other, &config)),
        None => return Err(RegistrationError::Stopping.into()),
    };
    web.telemetry.registrations.count(result, 1);
    let answer = json!({
        "provider": provider,
        "task_id": id,
        "ttl": ttl,
        "ttl_limited": is_cut,
    });
    Ok(json_response(status, &answer))
}

async fn delete_task(
    web: &WebState,
    user: Sender,
    path: TaskPath,
    uri: &Uri,
) -> Result<Response, ReceiverRefusal> {
    let config = web.manager.config();
    check_user(&config, user)?;
    let (provider, id) = task_path(&config, path, uri)?;
    let (provider, id) = (provider.into(), id.as_str().into());
    let outcome = apply(web, vec![RegistrationChange::Delete { provider, id }]).await?;
    match outcome.first() {
        Some(RegistrationOutcome::Deleted) => {
            web.telemetry.registrations.count(RegistrationResult::Deleted, 1);
        }
        Some(RegistrationOutcome::Absent) => {}
        Some(other) => return Err(refused(*other, &config)),
        None => return Err(RegistrationError::Stopping.into()),
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn post_tasks(
    web: &WebState,
    user: Sender,
    request: Request,
) -> Result<Response, ReceiverRefusal> {
    let config = web.manager.config();
    check_user(&config, user)?;
    check_query(request.uri(), "")?;
    let body = read_body(request, MAX_LIST_BYTES).await?;
    let (now, known) = (web.manager.now(), Arc::clone(&config));
    let parse = move || parse_registrations(&known, &body, now);
    let parsed = tokio::task::spawn_blocking(parse).await;
    let parsed = parsed.map_err(|_| RegistrationError::Stopping)?;
    let RegistrationList { tasks, mut rejected } =
        parsed.map_err(|error| ReceiverRefusal::bad_request(error.message))?;
    let malformed = rejected.len();
    let indexes: Vec<_> = tasks.iter().map(|parsed| parsed.index).collect();
    let cut = tasks.iter().filter(|parsed| parsed.is_cut).count();
    let changes = tasks.into_iter().map(|parsed| RegistrationChange::Register(parsed.registration));
    let outcomes = apply(web, changes.collect()).await?;
    let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    let created = count(RegistrationOutcome::Created);
    let renewed = count(RegistrationOutcome::Renewed);
    for (index, outcome) in indexes.into_iter().zip(&outcomes) {
        if !matches!(outcome, RegistrationOutcome::Created | RegistrationOutcome::Renewed) {
            rejected.push((index, refused(*outcome, &config).message.into_owned()));
        }
    }
    for (result, count) in [
        (RegistrationResult::Created, created),
        (RegistrationResult::Renewed, renewed),
        (RegistrationResult::Rejected, rejected.len()),
    ] {
        web.telemetry.registrations.count(result, count);
    }
    rejected.sort_by_key(|(index, _)| *index);
    let (status, retry_after) = match created + renewed > 0 || rejected.is_empty() {
        true => (StatusCode::OK, None),
        false if malformed > 0 => (StatusCode::BAD_REQUEST, None),
        false => (StatusCode::SERVICE_UNAVAILABLE, Some(RETRY_LIMIT)),
    };
    let rejected = rejected.iter().map(|(index, reason)| json!({"index": index, "reason": reason}));
    let answer = json!({
        "created": created,
        "renewed": renewed,
        "ttl_limited": cut,
        "rejected": rejected.collect::<Vec<_>>(),
    });
    Ok(with_retry_after(json_response(status, &answer), retry_after))
}

/// Applies changes, unless the storage fails.
async fn apply(
    web: &WebState,
    changes: Vec<RegistrationChange>,
) -> Result<Vec<RegistrationOutcome>, ReceiverRefusal> {
    Ok(web.manager.register(changes).await?)
}

/// Returns the refusal of an outcome that is one.
fn refused(outcome: RegistrationOutcome, config: &Config) -> ReceiverRefusal {
    match outcome {
        RegistrationOutcome::OverLimit => {
            let limit = config.task_receiver.limit;
            let message = format!("{limit} tasks are registered, the limit of task_receiver");
            ReceiverRefusal::unavailable(message, RETRY_LIMIT)
        }
        RegistrationOutcome::OverMaxTasks => {
            let message = "as many tasks are followed as max_tasks allows";
            ReceiverRefusal::unavailable(message, RETRY_LIMIT)
        }
        _ => ReceiverRefusal::new(StatusCode::NOT_FOUND, "the provider has left the configuration"),
    }
}

/// Checks whether the sender of a request may register tasks.
fn check_user(config: &Config, user: Sender) -> Result<(), ReceiverRefusal> {
    let Some(users) = &config.task_receiver.users else { return Ok(()) };
    let may_register = user.is_some_and(|Extension(AuthenticatedUser(user))| {
        users.names.iter().any(|name| name.as_bytes() == user)
    });
    may_register.then_some(()).ok_or_else(|| {
        let message = "only the users of task_receiver may register tasks";
        ReceiverRefusal::new(StatusCode::FORBIDDEN, message)
    })
}

/// Returns provider and ID of a request for one task.
fn task_path(
    config: &Config,
    path: TaskPath,
    uri: &Uri,
) -> Result<(String, String), ReceiverRefusal> {
    let Ok(Path((provider, id))) = path else {
        return Err(ReceiverRefusal::bad_request("the path is not UTF-8 text"));
    };
    check_query(uri, "; a ? in an ID is written %3F")?;
    let unknown = |message| ReceiverRefusal::new(StatusCode::NOT_FOUND, message);
    config.find_provider(&provider).map_err(unknown)?;
    Ok((provider, id))
}

fn check_query(uri: &Uri, hint: &str) -> Result<(), ReceiverRefusal> {
    match uri.query() {
        None => Ok(()),
        Some(_) => {
            let message = format!("this request takes no parameters{hint}");
            Err(ReceiverRefusal::bad_request(message))
        }
    }
}

/// Reads the body of a request, which is JSON or empty.
async fn read_body(request: Request, max_bytes: usize) -> Result<Vec<u8>, ReceiverRefusal> {
    let (parts, body) = request.into_parts();
    let has_type = check_content_type(&parts.headers)?;
    let size = http_body::Body::size_hint(&body).lower();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    if size > limit {
        return Err(too_large(max_bytes));
    }
    let read = tokio::time::timeout(BODY_TIMEOUT, collect(body, max_bytes)).await;
    let body = read.unwrap_or_else(|_| {
        let message = "the body did not arrive in time";
        Err(ReceiverRefusal::new(StatusCode::REQUEST_TIMEOUT, message))
    })?;
    match body.is_empty() || has_type {
        true => Ok(body),
        false => Err(not_json()),
    }
}

async fn collect(body: Body, max_bytes: usize) -> Result<Vec<u8>, ReceiverRefusal> {
    let (mut body, mut all) = (body.into_data_stream(), Vec::new());
    while let Some(part) = body.next().await {
        let part = part.map_err(|_| ReceiverRefusal::bad_request("the body is cut off"))?;
        if all.len() + part.len() > max_bytes {
            return Err(too_large(max_bytes));
        }
        all.extend_from_slice(&part);
    }
    Ok(all)
}

fn too_large(max_bytes: usize) -> ReceiverRefusal {
    let message = format!("the body has more than {} KiB", max_bytes >> 10);
    ReceiverRefusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

fn not_json() -> ReceiverRefusal {
    let message = "the body must be sent with Content-Type: application/json";
    ReceiverRefusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
}

/// Reports whether the headers name the type of JSON. A form of another site cannot send it, so that
/// nothing else is accepted.
fn check_content_type(headers: &HeaderMap) -> Result<bool, ReceiverRefusal> {
    if headers.get_all(CONTENT_ENCODING).iter().any(|value| value != "identity") {
        let message = "the body must not be compressed";
        return Err(ReceiverRefusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let is_json = |value: &HeaderValue| {
        let essence = value.to_str().ok().and_then(|value| value.split(';').next());
        essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
    };
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (None, _) => Ok(false),
        (Some(value), None) if is_json(value) => Ok(true),
        _ => Err(not_json()),
    }
}

fn json_response(status: StatusCode, answer: &Value) -> Response {
    let content_type = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, content_type, format!("{answer}\n")).into_response()
}
