//! XXH64 with seed 0, the content checksum of zstd frames.
//!
//! Small frames are made by hand, because a compressor costs more than the write itself; their checksum must then be ours.
//! It guards against torn and flipped bytes only. Integrity against people is the business of the segment's hash.

const PRIMES: [u64; 5] =
    [0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x85EB_CA77_C2B2_AE63, 0x27D4_EB2F_1656_67C5];

const fn round(lane: u64, input: u64) -> u64 {
    lane.wrapping_add(input.wrapping_mul(PRIMES[1])).rotate_left(31).wrapping_mul(PRIMES[0])
}

fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Consumes all whole stripes of 32 bytes with four lanes and folds the lanes into one.
fn stripes(input: &[u8]) -> u64 {
    let mut lanes = [PRIMES[0].wrapping_add(PRIMES[1]), PRIMES[1], 0, 0_u64.wrapping_sub(PRIMES[0])];
    for stripe in input.chunks_exact(32) {
        for (lane, part) in lanes.iter_mut().zip(stripe.chunks_exact(8)) {
            *lane = round(*lane, word(part));
        }
    }
    let [a, b, c, d] = lanes;
    let mut hash =
        a.rotate_left(1).wrapping_add(b.rotate_left(7)).wrapping_add(c.rotate_left(12)).wrapping_add(d.rotate_left(18));
    for lane in lanes {
        hash = (hash ^ round(0, lane)).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
    }
    hash
}

/// Consumes what is left after the stripes: words of eight bytes, one of four, then single bytes.
fn tail(mut hash: u64, input: &[u8]) -> u64 {
    let words = input.chunks_exact(8);
    let mut left = words.remainder();
    for part in words {
        hash ^= round(0, word(part));
        hash = hash.rotate_left(27).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
    }
    if let Some((part, rest)) = left.split_first_chunk::<4>() {
        hash ^= u64::from(u32::from_le_bytes(*part)).wrapping_mul(PRIMES[0]);
        hash = hash.rotate_left(23).wrapping_mul(PRIMES[1]).wrapping_add(PRIMES[2]);
        left = rest;
    }
    for byte in left {
        hash ^= u64::from(*byte).wrapping_mul(PRIMES[4]);
        hash = hash.rotate_left(11).wrapping_mul(PRIMES[0]);
    }
    hash
}

/// The hash of `input`.
pub(crate) fn xxh64(input: &[u8]) -> u64 {
    let start = if input.len() >= 32 { stripes(input) } else { PRIMES[4] };
    let start = start.wrapping_add(input.len() as u64);
    let mut hash = tail(start, &input[input.len() / 32 * 32..]);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(PRIMES[1]);
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(PRIMES[2]);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::xxh64;

    #[test]
    fn the_empty_input_has_its_published_hash() {
        assert_eq!(xxh64(b""), 0xEF46_DB37_51D8_E999);
        assert_eq!(xxh64(b"abc"), 0x44BC_2CF5_AD77_0999);
    }
}
