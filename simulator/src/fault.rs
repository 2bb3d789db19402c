//! What the network can do to an answer.

use serde::Deserialize;

/// What can happen on the way.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// The headers come after a minute.
    Slow,
    /// Nothing ever comes, and the connection stays open.
    Hang,
    /// The connection closes without an answer.
    Reset,
    /// The connection closes after half of the declared body.
    Half,
    /// The body never ends.
    Endless,
    /// The body comes a byte a second.
    Trickle,
}
