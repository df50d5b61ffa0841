//! Which engine a connection goes to, and whether there is room for it at all.
//!
//! A miner goes to the engine that his address has, so that he finds his session there when he
//! comes back; but where that one has clearly more to do than another, to the one that has least:
//! rented rigs come by the thousand from one address. How many are open is known by their seats,
//! which their connections hold and let go of with themselves; so there is nothing to count, and
//! nothing to be told of an end.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::config::Limits;
use crate::pool::action::CloseReason;
use crate::pool::household;

/// An engine may have so many connections more than the one with the fewest, and one part in this
/// many of those, before its addresses' miners go elsewhere.
const UNEVEN: usize = 8;

/// What a connection holds as long as it is open.
#[derive(Debug)]
pub(super) struct Seat {
    _engine: Arc<()>,
    _address: Arc<()>,
}

/// All engines, and who sits where.
#[derive(Debug)]
pub(super) struct Spread {
    engines: Vec<Arc<()>>,
    addresses: BTreeMap<IpAddr, Arc<()>>,
    /// When there are as many addresses, those without a connection are forgotten.
    sweep_at: usize,
    sessions: usize,
    per_address: usize,
}

/// How many seats there are of a kind.
fn seats(kind: &Arc<()>) -> usize {
    Arc::strong_count(kind) - 1
}

impl Spread {
    /// Nobody is there yet.
    pub(super) fn over(engines: usize, limits: &Limits) -> Self {
        Self {
            engines: (0..engines).map(|_| Arc::default()).collect(),
            addresses: BTreeMap::new(),
            sweep_at: 64,
            sessions: limits.sessions,
            per_address: limits.sessions_per_address,
        }
    }

    /// The place of the engine for a miner from `address`, and his seat; or why he has none. The
    /// limits are those of one pool, for all of them together.
    pub(super) fn seat(&mut self, address: IpAddr) -> Result<(usize, Seat), CloseReason> {
        let address = household(address);
        if self.engines.iter().map(seats).sum::<usize>() >= self.sessions {
            return Err(CloseReason::TooManyConnections);
        }
        if self.addresses.len() >= self.sweep_at {
            self.addresses.retain(|_, known| seats(known) > 0);
            self.sweep_at = 64 + 2 * self.addresses.len();
        }
        let known = Arc::clone(self.addresses.entry(address).or_default());
        // This one's own reference is one beside the seats.
        if seats(&known) > self.per_address && !address.is_loopback() {
            return Err(CloseReason::AddressFull);
        }
        let place = self.place(address);
        Ok((place, Seat { _engine: Arc::clone(&self.engines[place]), _address: known }))
    }

    fn place(&self, address: IpAddr) -> usize {
        let home = home(address, self.engines.len());
        let fewest = (0..self.engines.len()).min_by_key(|place| seats(&self.engines[*place]));
        let Some(fewest) = fewest else { return home };
        let least = seats(&self.engines[fewest]);
        if seats(&self.engines[home]) <= least + UNEVEN + least / UNEVEN { home } else { fewest }
    }
}

/// The engine that an address has: the same in each run.
fn home(address: IpAddr, engines: usize) -> usize {
    let digits = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    // CRC-32 stirs well enough for neighbours not to sit together.
    let stirred = crc32fast::hash(&digits.to_be_bytes());
    usize::try_from(stirred).unwrap_or(usize::MAX) % engines
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn spread(engines: usize, sessions: usize, per_address: usize) -> Spread {
        let limits = Limits { sessions, sessions_per_address: per_address, ..Limits::default() };
        Spread::over(engines, &limits)
    }

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    fn loads(spread: &Spread) -> Vec<usize> {
        spread.engines.iter().map(seats).collect()
    }

    #[test]
    fn many_addresses_are_spread_and_each_comes_back_to_its_engine() {
        let mut spread = spread(3, 100_000, 10);
        let mut places = BTreeMap::new();
        let mut held = Vec::new();
        for number in 0..3_000 {
            let (place, seat) = spread.seat(address(number)).expect("there is room");
            places.insert(number, place);
            held.push(seat);
        }
        let each = loads(&spread);
        assert_eq!(each.iter().sum::<usize>(), 3_000);
        assert!(each.iter().all(|load| (850..1_200).contains(load)), "{each:?}");
        // All leave and come back in another order.
        held.clear();
        assert_eq!(loads(&spread), [0, 0, 0]);
        let same = (0..3_000).rev().filter(|number| {
            let (place, seat) = spread.seat(address(*number)).expect("there is room");
            held.push(seat);
            places[number] == place
        });
        let same = same.count();
        assert!(same > 2_700, "{same} of 3000 are where they were");
    }

    #[test]
    fn rigs_of_one_address_are_spread_too() {
        let mut spread = spread(2, 100_000, 2_000);
        let from = address(7);
        let seats: Vec<Seat> = (0..1_000).map(|_| spread.seat(from).expect("room").1).collect();
        let each = loads(&spread);
        assert!(each.iter().all(|load| *load > 440), "{each:?}");
        drop(seats);
        assert_eq!(loads(&spread), [0, 0]);
    }

    #[test]
    fn the_limits_are_those_of_all_engines_together() {
        let mut spread = spread(2, 30, 20);
        let mut held = Vec::new();
        for _ in 0..20 {
            held.push(spread.seat(address(1)).expect("there is room"));
        }
        assert_eq!(spread.seat(address(1)).err(), Some(CloseReason::AddressFull));
        held.pop();
        held.push(spread.seat(address(1)).expect("one left"));
        for _ in 0..10 {
            held.push(spread.seat(Ipv4Addr::LOCALHOST.into()).expect("there is room"));
        }
        assert_eq!(spread.seat(address(2)).err(), Some(CloseReason::TooManyConnections));
        // Neighbours in one /64 are one household.
        let mut spread = self::spread(2, 30, 1);
        let of = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
        let held = spread.seat(of(1)).expect("there is room");
        assert_eq!(spread.seat(of(2)).err(), Some(CloseReason::AddressFull));
        drop(held);
        assert!(spread.seat(of(2)).is_ok());
    }

    #[test]
    fn addresses_that_left_are_forgotten() {
        let mut spread = spread(2, 100, 10);
        for number in 0..10_000 {
            spread.seat(address(number)).expect("there is room");
        }
        assert!(spread.addresses.len() <= 64, "{}", spread.addresses.len());
    }
}
