//! Proves the server: a simulated world, and a real bitcoind in a container.
//!
//! * [`sim`]: a regtest node and sidechains as pure state machines, with checks of their own.
//! * [`plan`], [`oracle`], [`simulate`], [`report`]: the server under a seed, what must hold, and
//!   what is said when it does not.
//! * [`http`]: that world behind real loopback ports, for `harness up` and for tests.
//! * [`containers`]: real nodes in containers, for what only a real node can judge.
//! * [`contract`]: watches what passes between the pool and the shell that drives it.
//! * [`draft`]: blocks put together by hand, right or wrong in one way.
//! * `kernel` (a feature): Bitcoin Core's own consensus code as a judge of blocks.
//! * [`load`]: how much a server can do, measured by its miners.
//! * [`rpc`]: the client that talks to either.
//! * [`stack`]: the real server and its data directory, started as a user starts them.
//! * [`trials`]: the real server killed, and its node's answers spoilt, at a real bitcoind.
//! * [`up`]: all of it at once, shown to whoever watches; [`cli`] is its command line.
//!
//! Not in here: anything the server is made of. What judges it shares no code with it, but for the
//! referee of BIP-0300 and BIP-0301, which is proved on the verdicts of a real enforcer.

pub mod cli;
mod console;
pub mod containers;
pub mod contract;
pub mod draft;
pub mod http;
#[cfg(feature = "kernel")]
pub mod kernel;
pub mod load;
pub mod oracle;
pub mod plan;
pub mod report;
pub mod rpc;
pub mod sim;
pub mod simulate;
pub mod stack;
pub mod trials;
pub mod up;
