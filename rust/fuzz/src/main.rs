//! A short fuzz of every decoder on any toolchain: `smoke [SECONDS-PER-TARGET] [SEED] [TARGET]`.
//!
//! Mutations of known inputs, without coverage feedback; what it finds it prints, so that it can become a test.

use std::panic;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fuzz::{TARGETS, Target};

/// A small generator of chance: the same seed gives the same run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap_or(0) % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        const TELLING: [u8; 12] = [0, 1, 4, 127, 128, 255, b'\'', b'"', b'\\', b'\n', b'$', b'('];
        let any = self.next().to_le_bytes()[3];
        if any.is_multiple_of(3) { TELLING[self.below(TELLING.len())] } else { any }
    }
}

/// Changes `input` in one way.
fn mutate(input: &mut Vec<u8>, seeds: &[&[u8]], chance: &mut Chance) {
    let at = chance.below(input.len() + 1);
    match chance.below(8) {
        0 if !input.is_empty() => {
            let place = at % input.len();
            input[place] ^= 1 << chance.below(8);
        }
        1 if !input.is_empty() => {
            let place = at % input.len();
            input[place] = chance.byte();
        }
        2 => input.truncate(at),
        3 => {
            let byte = chance.byte();
            input.insert(at, byte);
        }
        4 if !input.is_empty() => {
            input.remove(at % input.len());
        }
        5 if input.len() >= 4 => {
            let place = at % (input.len() - 3);
            let value = [u32::MAX, 0, 3, 4, 0x7fff_ffff, 0x8000_0000, 1 << 30][chance.below(7)];
            input[place..place + 4].copy_from_slice(&value.to_be_bytes());
        }
        6 if !seeds.is_empty() => {
            let seed = seeds[chance.below(seeds.len())];
            let cut = chance.below(seed.len() + 1);
            input.splice(at..at, seed[cut..].iter().copied());
        }
        _ => {
            let end = (at + chance.below(16)).min(input.len());
            let again: Vec<u8> = input[at..end].repeat(1 + chance.below(8));
            input.splice(at..at, again);
        }
    }
    input.truncate(1 << 14);
}

/// Runs one target for a while; returns how many inputs it saw, or the one it died of.
fn run(&(_, target, _): &Target, seeds: &[&[u8]], time: Duration, chance: &mut Chance) -> Result<u64, Vec<u8>> {
    let deadline = Instant::now() + time;
    let mut count = 0;
    while Instant::now() < deadline {
        let mut input = seeds[chance.below(seeds.len())].to_vec();
        // The first byte of most inputs chooses how they are split.
        if chance.below(2) == 0 {
            let size = chance.byte();
            input.insert(0, size);
        }
        for _ in 0..chance.below(12) {
            mutate(&mut input, seeds, chance);
        }
        if panic::catch_unwind(|| target(&input)).is_err() {
            return Err(input);
        }
        count += 1;
    }
    Ok(count)
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let seconds: f64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1.0);
    let seed: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(4711);
    let only = arguments.next();
    let mut failed = false;
    for target in TARGETS.iter().filter(|target| only.as_ref().is_none_or(|name| name == target.0)) {
        let mut chance = Chance(seed | 1);
        // A segment is made, not written down: it carries its own hashes.
        let made = if target.2.is_empty() { vec![fuzz::segment()] } else { Vec::new() };
        let seeds: Vec<&[u8]> = target.2.iter().copied().chain(made.iter().map(Vec::as_slice)).collect();
        match run(target, &seeds, Duration::from_secs_f64(seconds), &mut chance) {
            Ok(count) => println!("{:12} {count:>9} inputs", target.0),
            Err(input) => {
                failed = true;
                println!("{:12} DIED (seed {seed}) of b\"{}\"", target.0, input.escape_ascii());
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
