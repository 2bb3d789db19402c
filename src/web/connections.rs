//! The open connections of all listen addresses, the choice of the one that is closed for a new
//! one, and the file descriptors reserved for them.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::connection_stage::{ConnectionStage, WaitingFor};
use crate::telemetry::Telemetry;
use crate::telemetry::web::CloseReason;

/// Maximum number of connections: many times what Prometheus servers and people need. Each
/// connection can cost a file descriptor and the head of a request.
pub const MAX_CONNECTIONS: usize = 512;
/// Maximum length of the head of a request, in bytes. An ID of 4,096 bytes in percent-encoding,
/// credentials and cookies of other programs on the same host take less than half.
pub const MAX_HEAD_BYTES: usize = 64 << 10;
/// Maximum size of the heads of all connections together, in bytes.
const MAX_HEADS_BYTES: usize = 32 << 20;
const _: () = assert!(MAX_CONNECTIONS * MAX_HEAD_BYTES <= MAX_HEADS_BYTES, "a head each");

/// The open connections.
#[derive(Debug)]
pub struct OpenConnections {
    permits: Arc<Semaphore>,
    open: Mutex<HashMap<u64, OpenConnection>>,
    next: AtomicU64,
    telemetry: Arc<Telemetry>,
}

#[derive(Debug)]
struct OpenConnection {
    stage: Arc<ConnectionStage>,
    evict: oneshot::Sender<()>,
}

/// The slot of a connection, held while it is open.
#[derive(Debug)]
pub struct ConnectionSlot {
    /// Stage of the connection.
    pub stage: Arc<ConnectionStage>,
    connections: Arc<OpenConnections>,
    number: u64,
    evicted: oneshot::Receiver<()>,
    _permit: OwnedSemaphorePermit,
}

impl OpenConnections {
    /// Creates room for connections in a process that may open so many files (`None`: no limit).
    /// Half of the files are left to polls and to the storage path.
    pub fn new(open_files: Option<u64>, telemetry: Arc<Telemetry>) -> Arc<Self> {
        let files = open_files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
        Self::with_capacity((files / 2).clamp(1, MAX_CONNECTIONS), telemetry)
    }

    fn with_capacity(capacity: usize, telemetry: Arc<Telemetry>) -> Arc<Self> {
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(capacity)),
            open: Mutex::default(),
            next: AtomicU64::new(0),
            telemetry,
        })
    }

    /// Assigns a slot to a new connection.
    ///
    /// If none is left, closes the idlest connection and waits for its end. Never returns `None` in
    /// practice, because the semaphore is not closed.
    pub async fn admit(self: &Arc<Self>) -> Option<ConnectionSlot> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.evict_idlest(WaitingFor::Response);
                Arc::clone(&self.permits).acquire_owned().await.ok()?
            }
        };
        let stage = Arc::new(ConnectionStage::new());
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (evict, evicted) = oneshot::channel();
        self.open.lock().insert(number, OpenConnection { stage: Arc::clone(&stage), evict });
        self.telemetry.web.connection_opened();
        let connections = Arc::clone(self);
        Some(ConnectionSlot { stage, connections, number, evicted, _permit: permit })
    }

    /// Closes the connection that has waited longest for its next request; if there is none, for
    /// the end of a head; and if all have requests in flight, the one whose client has taken
    /// nothing for the longest time. Spares those that wait for more than `most`.
    pub fn evict_idlest(&self, most: WaitingFor) {
        let mut open = self.open.lock();
        let idleness = open.iter().map(|(number, open)| (open.stage.idleness(), *number));
        let idlest = idleness.min().filter(|((waiting, _), _)| *waiting <= most);
        let idlest = idlest.map(|(_, number)| number);
        if let Some(OpenConnection { evict, .. }) = idlest.and_then(|number| open.remove(&number)) {
            // The connection may have just ended by itself.
            if evict.send(()).is_ok() {
                self.telemetry.web.closed(CloseReason::Evicted);
            }
        }
    }

    /// Returns the counters of the web endpoints.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }
}

impl ConnectionSlot {
    /// Waits until another connection needs the slot.
    pub async fn evicted(&mut self) {
        // The sender is dropped with the slot, or used to evict the connection.
        let _ = (&mut self.evicted).await;
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.connections.open.lock().remove(&self.number);
        let telemetry = &self.connections.telemetry.web;
        telemetry.connection_ended();
        if let Some(reason) = self.stage.closed() {
            telemetry.closed(reason);
        }
    }
}

/// Size of the reserve for all listen addresses together: enough for some scrapes and health checks
/// at once. With few descriptors, it is an eighth of them.
const FD_RESERVE_SIZE: u64 = 32;
const FD_RESERVE_PART: u64 = 8;
/// Maximum limit with a reserve. No number of polls comes near a higher limit, and the system's
/// table of files would have to be as long as the limit.
const MAX_LIMIT_WITH_RESERVE: u64 = 1 << 16;

/// A reserve of the file descriptors with the highest numbers that the limit of open files allows.
///
/// The system has no limit for a part of a process. The reserve is therefore occupied until
/// descriptors run out; then the limit is lowered to exclude it, and raised for each connection
/// that is accepted.
#[derive(Debug)]
pub struct FdReserve {
    /// Limit that includes the reserve, and limit that excludes it.
    limits: Option<(u64, u64)>,
    /// Files that occupy the reserve.
    kept: Mutex<Vec<OwnedFd>>,
}

impl FdReserve {
    /// Occupies the reserve below `limit`, the limit of open files (`None`: no limit). `file` is
    /// any open file.
    pub fn new(limit: Option<u64>, file: impl AsFd) -> Self {
        let limits = limit
            .filter(|limit| *limit <= MAX_LIMIT_WITH_RESERVE)
            .map(|limit| (limit, limit - FD_RESERVE_SIZE.min(limit / FD_RESERVE_PART)));
        let numbers = limits.map_or(0..0, |(including, excluding)| excluding..including);
        let duplicate = |number| fcntl_dupfd_cloexec(&file, i32::try_from(number).ok()?).ok();
        let kept = numbers.filter_map(duplicate).collect();
        Self { limits, kept: Mutex::new(kept) }
    }

    /// Calls `open`, which may open a file of the reserve. After the first call, nothing else can.
    pub fn open<T>(&self, open: impl FnOnce() -> T) -> T {
        let Some((including, excluding)) = self.limits else { return open() };
        let mut kept = self.kept.lock();
        if !kept.is_empty() {
            set_limit(excluding);
            kept.clear();
        }
        set_limit(including);
        let opened = open();
        set_limit(excluding);
        opened
    }
}

/// Raises the soft limit of open files to the hard limit, as far as the system allows.
///
/// The soft limit is 1,024 on most systems for the sake of programs that use `select`, which this
/// one does not. Returns the limit in force; `None` if there is none.
pub fn raise_open_files_limit() -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    if before.current != before.maximum {
        let raised = Rlimit { current: before.maximum, maximum: before.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "cannot raise the limit of open files");
        }
    }
    getrlimit(Resource::Nofile).current
}

/// Sets the soft limit of open files.
fn set_limit(files: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // This cannot fail within the hard limit; if it did, the limit would stay as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    /// Opens so many connections, one per second.
    async fn opened(connections: &Arc<OpenConnections>, count: usize) -> Vec<ConnectionSlot> {
        let mut slots = Vec::new();
        for _ in 0..count {
            slots.push(connections.admit().await.unwrap());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        slots
    }

    /// Returns the index of the slot that is evicted for one more connection.
    async fn evicted(connections: &Arc<OpenConnections>, slots: &mut Vec<ConnectionSlot>) -> usize {
        let mut admit = Box::pin(connections.admit());
        assert!(admit.as_mut().now_or_never().is_none(), "there is room");
        let mut leaving = (0..slots.len())
            .filter(|number| slots[*number].evicted().now_or_never().is_some())
            .collect::<Vec<_>>();
        let leaves = leaving.pop().unwrap();
        assert_eq!(leaving, [0; 0], "one is enough");
        drop(slots.remove(leaves));
        slots.push(admit.await.unwrap());
        leaves
    }

    #[tokio::test(start_paused = true)]
    async fn the_idlest_connection_leaves_for_a_new_one() {
        let connections = OpenConnections::with_capacity(4, Arc::default());
        let mut slots = opened(&connections, 4).await;
        let second = Duration::from_secs(1);
        // 0 and 2 have requests in flight, 1 has sent none yet, 3 waits for its next one.
        for number in [0, 2, 3] {
            slots[number].stage.begin_request();
        }
        tokio::time::advance(second).await;
        slots[3].stage.end_answer();
        assert_eq!(evicted(&connections, &mut slots).await, 3);
        slots[3].stage.begin_request();
        assert_eq!(evicted(&connections, &mut slots).await, 1);
        tokio::time::advance(second).await;
        // All have requests in flight: the client of 0 takes something, that of 2 does not.
        slots.iter().skip(2).for_each(|slot| slot.stage.begin_request());
        slots[0].stage.progress();
        tokio::time::advance(second).await;
        assert_eq!(evicted(&connections, &mut slots).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_fewer_where_files_are_few() {
        for (files, capacity) in
            [(None, 512), (Some(1 << 20), 512), (Some(100), 50), (Some(1), 1), (Some(0), 1)]
        {
            let connections = OpenConnections::new(files, Arc::default());
            assert_eq!(connections.permits.available_permits(), capacity, "{files:?}");
        }
    }
}
