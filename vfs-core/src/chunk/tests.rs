//! Cuts depend on the content alone; knowing an older state changes what is read, not what is cut.

use proptest::prelude::*;

use super::*;
use crate::object::Blob;

/// Small sizes, so that little content has many cuts.
const SMALL: Sizes = Sizes { min: 64, average: 256, max: 1024 };

/// Bytes that look random, from a seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Runs a cutter over `content`; returns the extents, and how many bytes were read.
fn cut(cutter: Cutter, content: &[u8]) -> (Vec<Extent>, u64) {
    let key = IdKey::golden();
    let mut extents = Vec::new();
    let mut position = 0;
    let mut read = 0;
    cutter
        .run(
            |offset, length| {
                read += length as u64;
                Ok(Bytes::copy_from_slice(&content[offset as usize..offset as usize + length]))
            },
            |step| {
                let extent = match step {
                    Step::New(bytes) => {
                        assert_eq!(bytes, content[position..position + bytes.len()]);
                        Extent::Chunk(chunk_ref(&key, &bytes))
                    }
                    Step::Kept(chunk) => {
                        assert_eq!(chunk, chunk_ref(&key, &content[position..position + chunk.length as usize]));
                        Extent::Chunk(chunk)
                    }
                    Step::Hole(length) => Extent::Hole(length),
                    Step::Read(_) => panic!("run answers reads itself"),
                };
                position += extent.length() as usize;
                extents.push(extent);
                Ok(())
            },
        )
        .unwrap();
    assert_eq!(position, content.len());
    (extents, read)
}

fn cut_all(content: &[u8], holes: &[Range<u64>]) -> Vec<Extent> {
    cut(Cutter::with_sizes(SMALL, content.len() as u64, holes), content).0
}

#[test]
fn sizes_are_kept() {
    let content = noise(1, 8 * 1024 * 1024);
    let (extents, read) = cut(Cutter::new(content.len() as u64, &[]), &content);
    assert_eq!(read, content.len() as u64);
    let (last, rest) = extents.split_last().unwrap();
    assert!(rest.iter().all(|extent| (CHUNK_MIN as u64..=CHUNK_MAX as u64).contains(&extent.length())));
    assert!(last.length() <= CHUNK_MAX as u64);
    let average = content.len() / extents.len();
    assert!((CHUNK_AVERAGE / 2..CHUNK_AVERAGE * 2).contains(&average), "the average is {average}");
}

#[test]
fn bytes_put_in_front_move_few_cuts() {
    let content = noise(2, 200_000);
    let mut longer = noise(3, 100);
    longer.extend_from_slice(&content);
    let before = cut_all(&content, &[]);
    let after = cut_all(&longer, &[]);
    let new = after.iter().filter(|extent| !before.contains(extent)).count();
    assert!(before.len() > 300 && new < 10, "{new} of {} chunks are new", after.len());
}

#[test]
fn a_small_change_reads_little() {
    let mut content = noise(4, 1_000_000);
    let old = cut_all(&content, &[]);
    content[500_000] ^= 1;
    let cutter = Cutter::with_sizes(SMALL, content.len() as u64, &[]).knowing(&old, &[500_000..500_001]);
    let (extents, read) = cut(cutter, &content);
    assert_eq!(extents, cut_all(&content, &[]));
    assert!(read < 8 * SMALL.max as u64, "{read} bytes were read");
}

#[test]
fn nothing_changed_reads_nothing() {
    let content = noise(5, 100_000);
    let old = cut_all(&content, &[8192..16384]);
    let cutter = Cutter::with_sizes(SMALL, content.len() as u64, &[8192..16384]).knowing(&old, &[]);
    assert_eq!(cut(cutter, &content), (old, 0));
}

#[test]
fn holes_are_whole_units_or_reach_the_end() {
    let part = |end, hole| Part { end, hole };
    assert_eq!(parts(0, &[]), []);
    assert_eq!(parts(100, &[]), [part(100, false)]);
    assert_eq!(parts(100, &[0..100]), [part(100, true)]);
    assert_eq!(parts(10_000, &[1..9000]), [part(4096, false), part(8192, true), part(10_000, false)]);
    assert_eq!(parts(10_000, &[5000..10_000]), [part(8192, false), part(10_000, true)]);
    assert_eq!(parts(10_000, &[5000..6000]), [part(10_000, false)]);
    assert_eq!(parts(20_000, &[0..4096, 4096..8192]), [part(8192, true), part(20_000, false)]);
    assert_eq!(parts(9_000, &[8193..20_000]), [part(9_000, false)]);
}

/// Content with runs that repeat, so that cuts at [`Sizes::max`] happen too.
fn contents() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec((any::<u64>(), 0usize..4000, any::<bool>()), 0..8).prop_map(|runs| {
        runs.into_iter()
            .flat_map(|(seed, length, flat)| if flat { vec![seed as u8; length] } else { noise(seed, length) })
            .collect()
    })
}

/// Units of a file that are holes.
fn holes(size: usize, pick: &[bool]) -> Vec<Range<u64>> {
    let unit = HOLE_UNIT as usize;
    let spans = pick.iter().enumerate().filter(|(index, hole)| **hole && index * unit < size);
    spans.map(|(index, _)| (index * unit) as u64..((index + 1) * unit).min(size) as u64).collect()
}

fn zero(content: &mut [u8], holes: &[Range<u64>]) {
    holes.iter().for_each(|hole| content[hole.start as usize..hole.end as usize].fill(0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn knowing_the_past_does_not_change_the_cuts(
        before in contents(),
        punched_before in prop::collection::vec(prop::bool::weighted(0.2), 8),
        punched_after in prop::option::of(prop::collection::vec(prop::bool::weighted(0.2), 8)),
        writes in prop::collection::vec((0usize..30_000, 0usize..600, any::<u64>()), 0..5),
        resize in prop::option::of(0usize..30_000),
    ) {
        let mut before = before;
        let holes_before = holes(before.len(), &punched_before);
        zero(&mut before, &holes_before);
        let old = cut_all(&before, &holes_before);

        let mut after = before.clone();
        let mut changed = Vec::new();
        after.resize(resize.unwrap_or(before.len()), 7);
        for (offset, length, seed) in writes {
            let start = offset.min(after.len());
            let end = (start + length).min(after.len());
            after[start..end].copy_from_slice(&noise(seed, end - start));
            changed.push(start as u64..end as u64);
        }
        // Units that were holes and are not any more still read as what `after` holds: only their kind changed.
        let holes_after = holes(after.len(), punched_after.as_ref().unwrap_or(&punched_before));
        zero(&mut after, &holes_after);
        changed.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::new();
        for range in changed {
            match merged.last_mut() {
                Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }

        let cutter = Cutter::with_sizes(SMALL, after.len() as u64, &holes_after).knowing(&old, &merged);
        prop_assert_eq!(cut(cutter, &after).0, cut_all(&after, &holes_after));
    }

    #[test]
    fn feeding_in_small_parts_does_not_matter(content in contents(), part in 1usize..700) {
        let mut cutter = Cutter::with_sizes(SMALL, content.len() as u64, &[]);
        let mut extents = Vec::new();
        while let Some(step) = cutter.step() {
            match step {
                Step::Read(range) => {
                    let end = (range.start as usize + part).min(range.end as usize);
                    cutter.feed(&content[range.start as usize..end]);
                }
                Step::New(bytes) => extents.push(Extent::Chunk(chunk_ref(&IdKey::golden(), &bytes))),
                other => panic!("{other:?} without a past or holes"),
            }
        }
        prop_assert_eq!(Blob::new(extents), Blob::new(cut_all(&content, &[])));
    }
}
