//! A software Stratum v1 miner: an independent client and a SHA-256d nonce search.
//!
//! Why it exists: it is the second witness of the server's wire format. It shares no code with the
//! server and derives every header from the strings on the wire, so an error that both sides of a
//! shared library would make alike shows here as a rejected share or an orphaned block.
//!
//! In reading order:
//! * [`target`]: difficulty text to 256-bit target, exactly;
//! * [`hex`], [`work`]: the strings of a job to a header;
//! * [`hasher`]: the nonce search;
//! * [`kernel`]: the same with the instructions that this machine has;
//! * [`persona`]: a miner's habits;
//! * [`client`]: the session, as bytes in and bytes out;
//! * [`mischief`]: what an honest session never says;
//! * [`runtime`]: the socket and the hashing threads; the only place with a clock.
//!
//! Words: a *job* is one `mining.notify`; *work* is a job with an extranonce2 and version bits
//! chosen, a header but for the nonce; a *share* is a nonce that met the difficulty and was
//! submitted; it *meets the block* when its hash is also below the network's target.

pub mod client;
pub mod hasher;
pub mod hex;
pub mod kernel;
pub mod mischief;
pub mod persona;
pub mod runtime;
pub mod target;
pub mod work;
