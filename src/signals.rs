//! The signals that the process handles: those that end it, the one that reloads its configuration,
//! and `SIGXFSZ`, which must not kill it.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::reload::Reloads;
use crate::supervisor::restart_on_panic;

/// Number of the signal that a write beyond `RLIMIT_FSIZE` causes.
const SIGXFSZ: i32 = rustix::process::Signal::XFSZ.as_raw();

/// The signals that end the process or reload its configuration.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// Installs the handlers. This must come first, so that a signal during the start is not lost.
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

    /// Reloads the configuration at every `SIGHUP`.
    pub(crate) fn reload(&mut self, reloads: Arc<Reloads>) -> JoinHandle<()> {
        let hangup = Arc::new(Mutex::new(self.hangup.take()));
        let follow = move || {
            let (reloads, hangup) = (Arc::clone(&reloads), Arc::clone(&hangup));
            async move {
                let mut hangup = hangup.lock().await;
                let Some(hangup) = hangup.as_mut() else { return };
                while hangup.recv().await.is_some() {
                    // The outcome is logged and counted there.
                    let _ = reloads.run().await;
                }
            }
        };
        tokio::spawn(restart_on_panic("reload", follow))
    }
}

/// Installs a handler with which a write beyond `RLIMIT_FSIZE` fails with `EFBIG`, like one to a
/// full disk, instead of killing the process. Must be called on a tokio runtime.
fn survive_file_size_limit() -> io::Result<()> {
    // The handler outlives its handle. It does nothing but replace the default action.
    signal(SignalKind::from_raw(SIGXFSZ)).map(drop)
}

/// Waits for `work`, or exits at a second signal.
pub(crate) async fn abort_on_second(mut signals: Signals, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = signals.stop() => {
            tracing::warn!("stopped immediately on the second signal");
            std::process::exit(1);
        }
    }
}
