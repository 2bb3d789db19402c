//! The signals that the process handles: those that end it, the one that reloads its configuration,
//! and `SIGXFSZ`, which must not kill it.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::reload::Reloads;
use crate::supervisor::restart_on_panic;

/// The number of the signal that a write beyond `RLIMIT_FSIZE` brings.
const SIGXFSZ: i32 = rustix::process::Signal::XFSZ.as_raw();

/// The signals that end the process, or reload its configuration.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// Catches the signals from now on: one that comes before all is built must not be lost. One of
    /// them is to do nothing at all.
    pub(crate) fn install() -> io::Result<Self> {
        survive_file_size_limit()?;
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: Some(signal(SignalKind::hangup())?),
        })
    }

    /// Waits for a signal that ends the process.
    pub(crate) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Asks for a reload at every hangup.
    pub(crate) fn reload(&mut self, reloads: Arc<Reloads>) -> JoinHandle<()> {
        let hangup = Arc::new(Mutex::new(self.hangup.take()));
        let follow = move || {
            let (reloads, hangup) = (Arc::clone(&reloads), Arc::clone(&hangup));
            async move {
                let mut hangup = hangup.lock().await;
                let Some(hangup) = hangup.as_mut() else { return };
                while hangup.recv().await.is_some() {
                    // Its outcome is logged and counted there.
                    let _ = reloads.run().await;
                }
            }
        };
        tokio::spawn(restart_on_panic("reload", follow))
    }
}

/// Sees to it that a write beyond `RLIMIT_FSIZE` fails with `EFBIG`, like one to a full disk,
/// instead of killing the process. Must be called on a tokio runtime.
fn survive_file_size_limit() -> io::Result<()> {
    // The handler stays when its handle is dropped. It has nothing to do but to be in the place of
    // the default action.
    signal(SignalKind::from_raw(SIGXFSZ)).map(drop)
}

/// Finishes `work`, but not beyond a second signal.
pub(crate) async fn abort_on_second(mut signals: Signals, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = signals.stop() => {
            tracing::warn!("stopped at once, at the second signal");
            std::process::exit(1);
        }
    }
}
