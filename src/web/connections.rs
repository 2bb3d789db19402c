//! The connections that are open, of all listen addresses together, and which of them is closed
//! when one more comes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::connection_stage::{Stage, Waiting};
use crate::lock::lock;
use crate::telemetry::Telemetry;
use crate::telemetry::web::CloseReason;

/// Many times what Prometheus servers and people need. Each connection can cost a file descriptor
/// and the head of a request.
pub const MAX_CONNECTIONS: usize = 512;
/// The longest head of a request, in bytes: an ID of 4,096 bytes in percent-encoding, credentials
/// and cookies of other programs on the same host take less than half.
pub const MAX_HEAD_BYTES: usize = 64 << 10;
/// The most that the heads of all connections together may take, in bytes.
const MAX_HEADS_BYTES: usize = 32 << 20;
const _: () = assert!(MAX_CONNECTIONS * MAX_HEAD_BYTES <= MAX_HEADS_BYTES, "a head each");

/// The connections that are open.
#[derive(Debug)]
pub struct Connections {
    permits: Arc<Semaphore>,
    open: Mutex<HashMap<u64, Open>>,
    next: AtomicU64,
    telemetry: Arc<Telemetry>,
}

#[derive(Debug)]
struct Open {
    stage: Arc<Stage>,
    evict: oneshot::Sender<()>,
}

/// The place of a connection, for as long as it is open.
#[derive(Debug)]
pub struct Place {
    /// The stage of the connection.
    pub stage: Arc<Stage>,
    connections: Arc<Connections>,
    number: u64,
    evicted: oneshot::Receiver<()>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// Room for connections where the process may open so many files; `None` is no limit. Half of
    /// the files are left to polls and to what is kept on the disk.
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

    /// Gives a new connection a place. Where there is none left the idlest connection is closed,
    /// and this waits for the moment that it takes to end. `None` never comes in practice: the
    /// semaphore is not closed.
    pub async fn admit(self: &Arc<Self>) -> Option<Place> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.evict_idlest(Waiting::Answer);
                Arc::clone(&self.permits).acquire_owned().await.ok()?
            }
        };
        let stage = Arc::new(Stage::new());
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (evict, evicted) = oneshot::channel();
        lock(&self.open).insert(number, Open { stage: Arc::clone(&stage), evict });
        self.telemetry.web.connection_opened();
        let connections = Arc::clone(self);
        Some(Place { stage, connections, number, evicted, _permit: permit })
    }

    /// Closes the connection that has waited the longest for its next request; if there is none,
    /// for the end of a head; and if all have requests under way, the one whose client has taken
    /// nothing for the longest time. None of those that wait for more than `most`.
    pub fn evict_idlest(&self, most: Waiting) {
        let mut open = lock(&self.open);
        let idleness = open.iter().map(|(number, open)| (open.stage.idleness(), *number));
        let idlest = idleness.min().filter(|((waiting, _), _)| *waiting <= most);
        let idlest = idlest.map(|(_, number)| number);
        if let Some(Open { evict, .. }) = idlest.and_then(|number| open.remove(&number)) {
            // It may just have ended by itself.
            if evict.send(()).is_ok() {
                self.telemetry.web.closed(CloseReason::Evicted);
            }
        }
    }

    /// The counters of the web side.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }
}

impl Place {
    /// Returns once another connection needs the place.
    pub async fn evicted(&mut self) {
        // The sender goes with the place, or with the order to leave it.
        let _ = (&mut self.evicted).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.connections.open).remove(&self.number);
        let telemetry = &self.connections.telemetry.web;
        telemetry.connection_ended();
        if let Some(reason) = self.stage.closed() {
            telemetry.closed(reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    /// So many connections, one a second.
    async fn opened(connections: &Arc<Connections>, count: usize) -> Vec<Place> {
        let mut places = Vec::new();
        for _ in 0..count {
            places.push(connections.admit().await.unwrap());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        places
    }

    /// Returns the number of the place that has to be left for one more connection.
    async fn evicted(connections: &Arc<Connections>, places: &mut Vec<Place>) -> usize {
        let mut admit = Box::pin(connections.admit());
        assert!(admit.as_mut().now_or_never().is_none(), "there is room");
        let mut leaving = (0..places.len())
            .filter(|number| places[*number].evicted().now_or_never().is_some())
            .collect::<Vec<_>>();
        let leaves = leaving.pop().unwrap();
        assert_eq!(leaving, [0; 0], "one is enough");
        drop(places.remove(leaves));
        places.push(admit.await.unwrap());
        leaves
    }

    #[tokio::test(start_paused = true)]
    async fn the_idlest_connection_leaves_for_a_new_one() {
        let connections = Connections::with_capacity(4, Arc::default());
        let mut places = opened(&connections, 4).await;
        let second = Duration::from_secs(1);
        // 0 and 2 have requests under way, 1 has sent none yet, 3 waits for its next one.
        for number in [0, 2, 3] {
            places[number].stage.begin_request();
        }
        tokio::time::advance(second).await;
        places[3].stage.end_answer();
        assert_eq!(evicted(&connections, &mut places).await, 3);
        places[3].stage.begin_request();
        assert_eq!(evicted(&connections, &mut places).await, 1);
        tokio::time::advance(second).await;
        // All are under way: the client of 0 takes something, that of 2 does not.
        places.iter().skip(2).for_each(|place| place.stage.begin_request());
        places[0].stage.progress();
        tokio::time::advance(second).await;
        assert_eq!(evicted(&connections, &mut places).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_fewer_where_files_are_few() {
        for (files, capacity) in
            [(None, 512), (Some(1 << 20), 512), (Some(100), 50), (Some(1), 1), (Some(0), 1)]
        {
            let connections = Connections::new(files, Arc::default());
            assert_eq!(connections.permits.available_permits(), capacity, "{files:?}");
        }
    }
}
