//! The two clocks of the core, as plain numbers that the caller brings.
//!
//! Monotonic time orders and measures; wall time fills and judges `ntime`. They are apart because
//! a stepped wall clock must never shorten a deadline. Nothing here reads a clock.

use core::ops::Add;
use core::time::Duration;

/// A moment on the monotonic clock: nanoseconds since the process (or simulation) started.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Instant(u64);

impl Instant {
    /// The start of time.
    pub const ZERO: Self = Self(0);

    /// The moment `nanoseconds` after the start.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to here; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates: a deadline beyond 584 years is never reached either way.
    fn add(self, later: Duration) -> Self {
        let nanoseconds = u64::try_from(later.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanoseconds))
    }
}

/// Seconds since 1970 on the wall clock, as block headers carry them (valid until 2106).
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct UnixTime(pub u32);

/// Milliseconds since 1970 on the wall clock, as records carry them.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The whole seconds.
    pub fn seconds(self) -> UnixTime {
        UnixTime(u32::try_from(self.0 / 1_000).unwrap_or(u32::MAX))
    }
}

impl From<UnixTime> for UnixMillis {
    fn from(time: UnixTime) -> Self {
        Self(u64::from(time.0) * 1_000)
    }
}

/// A stretch of wall time; without an end on a side where none is given.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Window {
    /// From here on.
    pub since: Option<UnixMillis>,
    /// And before this.
    pub until: Option<UnixMillis>,
}

impl Window {
    /// Whether `time` is within it.
    pub fn has(&self, time: UnixMillis) -> bool {
        self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time < until)
    }
}

/// Both clocks, read once for each event.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Now {
    /// Monotonic clock.
    pub mono: Instant,
    /// Wall clock.
    pub wall: UnixMillis,
}
