//! The simulated node against blocks and requests that are right, and wrong in one way at a time.
//!
//! Blocks are put together here by hand, with no code of the server's. The expected words are
//! those that a bitcoind 29 gave for the same faults.

mod blocks;
mod chain;
mod draft;
mod rpc;
mod template;
