//! The spool: order, bounds, and a hostile disk.

use proptest::prelude::*;

use super::*;

const MEMORY: usize = 100_000;

fn space(bytes: u64) -> (tempfile::TempDir, SpoolSpace) {
    let folder = tempfile::tempdir().unwrap();
    let space = SpoolSpace::new(folder.path().join("spool"), bytes).unwrap();
    (folder, space)
}

fn bytes(count: usize, seed: usize) -> Vec<u8> {
    (0..count).map(|place| ((place * 31 + seed * 17) % 251) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn bytes_come_back_in_order(
        steps in prop::collection::vec(prop_oneof![
            (0_usize..200_000).prop_map(|count| (true, count)),
            (0_usize..200_000).prop_map(|count| (false, count)),
        ], 0..30),
    ) {
        let (_folder, space) = space(1 << 30);
        let mut spool = space.spool(MEMORY, 1 << 30);
        let (mut pushed, mut taken) = (Vec::new(), BytesMut::new());
        for (place, (push, count)) in steps.into_iter().enumerate() {
            if push {
                let more = bytes(count, place);
                spool.push(&more).unwrap();
                pushed.extend_from_slice(&more);
            } else {
                let before = taken.len();
                let more = spool.take(&mut taken, count).unwrap();
                prop_assert!(taken.len() - before <= count);
                prop_assert_eq!(more, taken.len() < pushed.len());
            }
            prop_assert_eq!(spool.len() as usize, pushed.len() - taken.len());
            prop_assert!(space.used() >= spool.len());
        }
        while spool.take(&mut taken, 50_000).unwrap() {}
        prop_assert_eq!(&taken[..], &pushed[..]);
        prop_assert_eq!(space.used(), 0);
    }
}

#[test]
fn nothing_is_taken_beyond_the_bounds() {
    let (_folder, space) = space(300_000);
    let mut first = space.spool(MEMORY, 200_000);
    let mut second = space.spool(MEMORY, 200_000);
    first.push(&bytes(200_000, 1)).unwrap();
    assert_eq!(first.push(b"x"), Err(Refused::Full));
    assert_eq!(second.push(&bytes(100_001, 2)), Err(Refused::Full));
    second.push(&bytes(100_000, 2)).unwrap();
    assert_eq!(second.push(b"x"), Err(Refused::Full));
    drop(first);
    second.push(b"x").unwrap();
    assert_eq!(second.len(), 100_001);
    second.clear();
    assert_eq!((second.len(), space.used()), (0, 0));
    second.push(b"again").unwrap();
    let mut out = BytesMut::new();
    assert!(!second.take(&mut out, 100).unwrap());
    assert_eq!(&out[..], b"again");
}

#[test]
fn the_file_is_noise() {
    let (_folder, space) = space(1 << 30);
    let mut spool = space.spool(0, 1 << 30);
    spool.push(&vec![b'A'; BLOCK * 3 + 5]).unwrap();
    let blocks = spool.blocks.as_ref().unwrap();
    let mut raw = vec![0; SEALED as usize * 3];
    blocks.file.read_exact_at(&mut raw, 0).unwrap();
    assert_eq!(blocks.file.metadata().unwrap().len(), raw.len() as u64);
    assert!(!raw.windows(8).any(|window| window == b"AAAAAAAA"));
    assert_ne!(raw[..BLOCK], raw[SEALED as usize..][..BLOCK], "two blocks never share a nonce");
}

#[test]
fn a_changed_or_moved_block_is_a_fault() {
    for attack in 0..3 {
        let (_folder, space) = space(1 << 30);
        let mut spool = space.spool(0, 1 << 30);
        spool.push(&bytes(BLOCK * 3, 1)).unwrap();
        let file = &spool.blocks.as_ref().unwrap().file;
        match attack {
            0 => file.write_all_at(b"!", 1000).unwrap(),
            1 => file.set_len(100).unwrap(),
            _ => {
                let mut second = vec![0; SEALED as usize];
                file.read_exact_at(&mut second, SEALED).unwrap();
                file.write_all_at(&second, 0).unwrap();
            }
        }
        let mut out = BytesMut::new();
        let fault = spool.take(&mut out, usize::MAX).unwrap_err();
        assert_eq!(fault.whose, Whose::Gateway);
        assert!(out.is_empty() && spool.is_empty());
        assert_eq!(space.used(), 0);
    }
}

#[test]
fn a_folder_that_is_gone_is_a_fault() {
    let (folder, space) = space(1 << 30);
    let mut spool = space.spool(0, 1 << 30);
    drop(folder);
    assert!(matches!(spool.push(&bytes(BLOCK, 1)), Err(Refused::Failed(_))));
    assert_eq!(space.used(), 0);
}
