//! MD5 (RFC 1321), only because old targets still ask for it. It protects nothing here that TLS would not.

/// Left rotations of the four rounds.
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The digest of `text` as 32 hexadecimal digits.
pub(super) fn hex(parts: &[&[u8]]) -> String {
    let mut text = parts.concat();
    let bits = (text.len() as u64).wrapping_mul(8);
    text.push(0x80);
    while text.len() % 64 != 56 {
        text.push(0);
    }
    text.extend_from_slice(&bits.to_le_bytes());
    let start = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let state = text.chunks_exact(64).fold(start, block);
    state.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("{byte:02x}")).collect()
}

/// The constant of one step: the fraction of a sine.
fn sine(step: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a value below 2^32 by construction")]
    let constant = (((step + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
    constant
}

fn block(state: [u32; 4], block: &[u8]) -> [u32; 4] {
    let word = |index: usize| {
        let at = index * 4;
        u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
    };
    let [mut a, mut b, mut c, mut d] = state;
    for step in 0..64 {
        let (mixed, index) = match step / 16 {
            0 => (b & c | !b & d, step),
            1 => (d & b | !d & c, (5 * step + 1) % 16),
            2 => (b ^ c ^ d, (3 * step + 5) % 16),
            _ => (c ^ (b | !d), 7 * step % 16),
        };
        let sum = a.wrapping_add(mixed).wrapping_add(sine(step)).wrapping_add(word(index));
        let turned = b.wrapping_add(sum.rotate_left(TURNS[step / 16][step % 4]));
        (a, d, c, b) = (d, c, b, turned);
    }
    let sums = [a, b, c, d];
    std::array::from_fn(|index| state[index].wrapping_add(sums[index]))
}

#[cfg(test)]
mod tests {
    use super::hex;

    #[test]
    fn the_suite_of_rfc_1321_is_reproduced() {
        let digits = "12345678901234567890123456789012345678901234567890123456789012345678901234567890";
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
            (letters, "d174ab98d277d9f5a5611c2c9f419d9f"),
            (digits, "57edf4a22be3c955ac49da2e2107b67a"),
        ] {
            assert_eq!(hex(&[text.as_bytes()]), digest, "{text}");
        }
    }

    #[test]
    fn every_length_around_a_block_has_its_padding() {
        for length in 0..200 {
            assert_eq!(hex(&[&vec![b'x'; length]]).len(), 32);
        }
    }
}
