//! Frames, whole and broken.

use proptest::prelude::*;

use super::*;

fn framed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let start = begin(&mut out);
    out.extend_from_slice(content);
    end(&mut out, start);
    out
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 1..600),
        (1_usize..300_000, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
        prop::collection::vec(b'a'..b'd', 4000..9000),
        (0_usize..5).prop_map(|more| vec![b'x'; 2 * LONGEST_BLOCK - 2 + more]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_decoder_of_zstd_reads_our_frames(content in content()) {
        let mut two = framed(&content);
        let first = two.len();
        prop_assert_eq!(measure(&two), Measure::Records { length: first, content: content.len() });
        two.extend_from_slice(&framed(&content));
        prop_assert_eq!(zstd::decode_all(&two[..]).unwrap(), [&content[..], &content[..]].concat());
        prop_assert_eq!(measure(&two), Measure::Records { length: first, content: content.len() });
    }

    #[test]
    fn a_cut_frame_asks_for_more(content in content(), cut in any::<prop::sample::Index>()) {
        let frame = framed(&content);
        let cut = cut.index(frame.len());
        match measure(&frame[..cut]) {
            Measure::More(least) => prop_assert!(least > cut && least <= frame.len()),
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn a_flipped_bit_never_passes(content in content(), place in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut frame = framed(&content);
        let place = place.index(frame.len());
        frame[place] ^= 1_u8 << bit;
        if let Measure::Records { length, content: announced } = measure(&frame) {
            let mut out = Vec::new();
            let read = Unframer::new().unwrap().decode(&frame[..length.min(frame.len())], announced, &mut out);
            // Some header bits carry no meaning for a frame of one segment; then the content is still the same.
            prop_assert!(read.is_err() || out == content);
        }
    }

    #[test]
    fn hostile_bytes_are_measured_within_bounds(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut frame = MAGIC.to_le_bytes().to_vec();
        frame.extend_from_slice(&bytes);
        if let Measure::Records { length, .. } = measure(&frame) {
            prop_assert!(length <= frame.len());
        }
    }
}

#[test]
fn bombs_are_refused_before_they_are_decoded() {
    let zeros = vec![0; LONGEST_CONTENT + 1];
    assert!(matches!(measure(&framed(&zeros)), Measure::Bad(_)));
}

#[test]
fn every_short_length_has_a_good_checksum() {
    for length in 1..600 {
        let content: Vec<u8> = (0..length).map(|byte| (byte % 251) as u8).collect();
        assert_eq!(zstd::decode_all(&framed(&content)[..]).unwrap(), content, "{length}");
    }
}

#[test]
fn an_empty_frame_is_no_frame() {
    assert!(framed(b"").is_empty());
}

#[test]
fn compressed_frames_are_measured_and_read() {
    let content: Vec<u8> = (0..300_000_u32).map(|byte| (byte % 7) as u8).collect();
    for level in [-5, 1, 3, 19] {
        let mut compressor = zstd::bulk::Compressor::new(level).unwrap();
        compressor.include_checksum(true).unwrap();
        let frame = compressor.compress(&content).unwrap();
        assert_eq!(measure(&frame), Measure::Records { length: frame.len(), content: content.len() });
        let mut out = Vec::new();
        Unframer::new().unwrap().decode(&frame, content.len(), &mut out).unwrap();
        assert_eq!(out, content);
    }
}
