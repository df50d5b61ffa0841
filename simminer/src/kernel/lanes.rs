//! The search with a nonce in each lane of a vector, for whatever width the machine has.
//!
//! Why a macro: a function that may use an instruction set must say so itself, and so must every
//! function that is to be compiled into it; a trait cannot. Each width has a module of its own
//! that says what a vector is and how it adds, rotates and compares, and takes the rest from here.
//!
//! What is left out of two whole compressions: the rounds and message words that [`Header`] holds
//! already; and of the second hash all that its last word does not need. That word is its initial
//! value plus variable e after the 61st round, for e becomes h three rounds later.
//!
//! [`Header`]: super::Header

/// Runs the rounds with these numbers, each with its constant plus what `$input` makes of it.
macro_rules! rounds {
    ($state:ident, $words:ident, from $source:ident, $($number:literal)*) => {
        $(
            $source::<$number>(&mut $words);
            round::<$number>(&mut $state, add($words[$number % 16], splat(ROUND[$number])));
        )*
    };
}

/// Everything but the vector itself. The module that uses it has `Vector` and `NONCES`, and of
/// functions `splat`, `count_up`, `add`, `rotate`, `shift`, `xor3`, `choose`, `majority`,
/// `swap_bytes` and `first_at_most`.
macro_rules! search_in_lanes {
    ($features:literal) => {
        /// See [`super::Kernel::scan`]; `count` is a multiple of [`NONCES`].
        #[target_feature(enable = $features)]
        pub(super) fn scan(header: &Header, first: u32, count: u64, top_word: u32) -> Option<u32> {
            let mut base = first;
            for _ in 0..count / u64::from(NONCES) {
                let nonces = swap_bytes(add(splat(base), count_up()));
                let top_words = swap_bytes(hash_again(hash_once(header, nonces)));
                if let Some(lane) = first_at_most(top_words, top_word) {
                    return Some(base.wrapping_add(lane));
                }
                base = base.wrapping_add(NONCES);
            }
            None
        }

        /// The header's hash, before it is hashed again. `nonces` are words of the message.
        #[inline]
        #[target_feature(enable = $features)]
        fn hash_once(header: &Header, nonces: Vector) -> [Vector; 8] {
            let [word16, word17, word18, word19] = splat_each(header.schedule);
            let mut words = [splat(0); 16];
            words[0] = word16;
            words[1] = word17;
            words[2] = add(word18, sigma0(nonces));
            words[3] = add(word19, nonces);
            words[4] = splat(PADDING);
            words[15] = splat(HEADER_BITS);
            let [a, b, c, d, e, f, g, h] = splat_each(header.after_four);
            // The first of the variables is where round 4 looks for it.
            let mut state = [add(e, nonces), f, g, h, add(a, nonces), b, c, d];
            rounds!(state, words, from keep, 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
            rounds!(state, words, from expand, 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35);
            rounds!(state, words, from expand, 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51);
            rounds!(state, words, from expand, 52 53 54 55 56 57 58 59 60 61 62 63);
            for (end, start) in state.iter_mut().zip(header.midstate) {
                *end = add(*end, splat(start));
            }
            state
        }

        /// The last word of the hash of a hash.
        #[inline]
        #[target_feature(enable = $features)]
        fn hash_again(hash: [Vector; 8]) -> Vector {
            let mut words = [splat(0); 16];
            words[..8].copy_from_slice(&hash);
            words[8] = splat(PADDING);
            words[15] = splat(HASH_BITS);
            let mut state = splat_each(INITIAL_STATE);
            rounds!(state, words, from keep, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
            rounds!(state, words, from expand, 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
            rounds!(state, words, from expand, 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47);
            rounds!(state, words, from expand, 48 49 50 51 52 53 54 55 56 57 58 59 60);
            add(state[7], splat(INITIAL_STATE[7]))
        }

        /// One round. The variables stay where they are, and with each round another place is
        /// called a: place 0 in round 0, place 7 in round 1, and so on down.
        #[inline]
        #[target_feature(enable = $features)]
        fn round<const NUMBER: usize>(state: &mut [Vector; 8], input: Vector) {
            let at = |variable: usize| (variable + 64 - NUMBER) % 8;
            let [a, b, c, d] = [state[at(0)], state[at(1)], state[at(2)], state[at(3)]];
            let [e, f, g, h] = [state[at(4)], state[at(5)], state[at(6)], state[at(7)]];
            let sum1 = xor3(rotate::<6, 26>(e), rotate::<11, 21>(e), rotate::<25, 7>(e));
            let first = add(add(add(h, input), choose(e, f, g)), sum1);
            let sum0 = xor3(rotate::<2, 30>(a), rotate::<13, 19>(a), rotate::<22, 10>(a));
            state[at(3)] = add(d, first);
            state[at(7)] = add(first, add(sum0, majority(a, b, c)));
        }

        /// Replaces the message word of 16 rounds ago with that of this round.
        #[inline]
        #[target_feature(enable = $features)]
        fn expand<const NUMBER: usize>(words: &mut [Vector; 16]) {
            let late = words[(NUMBER + 14) % 16];
            let late = xor3(rotate::<17, 15>(late), rotate::<19, 13>(late), shift::<10>(late));
            let early = add(words[NUMBER % 16], sigma0(words[(NUMBER + 1) % 16]));
            words[NUMBER % 16] = add(add(early, words[(NUMBER + 9) % 16]), late);
        }

        /// Leaves the message words as they are: this round's is there already.
        #[inline]
        #[target_feature(enable = $features)]
        fn keep<const NUMBER: usize>(_words: &mut [Vector; 16]) {}

        /// Each word in all lanes of a vector.
        #[inline]
        #[target_feature(enable = $features)]
        fn splat_each<const COUNT: usize>(words: [u32; COUNT]) -> [Vector; COUNT] {
            let mut vectors = [splat(0); COUNT];
            for (vector, word) in vectors.iter_mut().zip(words) {
                *vector = splat(word);
            }
            vectors
        }

        /// The smaller sigma 0 of the message schedule.
        #[inline]
        #[target_feature(enable = $features)]
        fn sigma0(word: Vector) -> Vector {
            xor3(rotate::<7, 25>(word), rotate::<18, 14>(word), shift::<3>(word))
        }
    };
}

pub(super) use {rounds, search_in_lanes};
