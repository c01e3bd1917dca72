//! Ranges, and the pieces of a file.

use vfs_core::id::{ChunkId, PlainDigest};

use super::*;

fn part(start: u64, end: u64) -> Asked {
    Asked::Part(Range { start, end })
}

#[test]
fn ranges_mean_what_rfc_9110_says() {
    let cases = [
        (None, Asked::Whole),
        (Some("bytes=0-0"), part(0, 1)),
        (Some("bytes=2-"), part(2, 10)),
        (Some("bytes=-3"), part(7, 10)),
        (Some("bytes=-300"), part(0, 10)),
        (Some("bytes=4-99"), part(4, 10)),
        (Some("bytes=9-9"), part(9, 10)),
        (Some("bytes=10-"), Asked::Beyond),
        (Some("bytes=-0"), Asked::Beyond),
        (Some("bytes=5-4"), Asked::Whole),
        (Some("bytes=0-1,3-4"), Asked::Whole),
        (Some("bytes=a-b"), Asked::Whole),
        (Some("lines=1-2"), Asked::Whole),
        (Some("bytes=18446744073709551615-"), Asked::Whole),
        (Some("bytes=-"), Asked::Whole),
    ];
    for (header, expected) in cases {
        assert_eq!(asked(header, 10), expected, "{header:?}");
    }
    assert_eq!(asked(Some("bytes=0-"), 0), Asked::Beyond);
    assert_eq!(asked(Some("bytes=-5"), 0), Asked::Beyond);
}

fn chunk(length: u32) -> Extent {
    Extent::Chunk(ChunkRef { id: ChunkId::from_bytes([0; 32]), digest: PlainDigest::from_bytes([0; 32]), length })
}

/// For each piece: whether it is a chunk, and its bounds in the chunk, or its length.
fn read_pieces(extents: &[Extent], start: u64, end: u64) -> Vec<(bool, usize, usize)> {
    let blob = Arc::new(Blob::new(extents.iter().copied()));
    let pieces = pieces(blob, Range { start, end });
    let bounds = |piece| match piece {
        Piece::Chunk { from, to, .. } => (true, from, to),
        Piece::Zeroes(length) => (false, 0, length),
    };
    pieces.map(bounds).collect()
}

#[test]
fn pieces_cover_exactly_the_range() {
    let extents = [chunk(100), Extent::Hole(50), chunk(10)];
    assert_eq!(read_pieces(&extents, 0, 160), [(true, 0, 100), (false, 0, 50), (true, 0, 10)]);
    assert_eq!(read_pieces(&extents, 99, 151), [(true, 99, 100), (false, 0, 50), (true, 0, 1)]);
    assert_eq!(read_pieces(&extents, 100, 101), [(false, 0, 1)]);
    assert_eq!(read_pieces(&extents, 155, 160), [(true, 5, 10)]);
    assert_eq!(read_pieces(&extents, 7, 7), []);
    assert_eq!(read_pieces(&[], 0, 0), []);
}

#[test]
fn a_huge_hole_is_cut_and_never_held() {
    let mut pieces = pieces(Arc::new(Blob::new([Extent::Hole(u64::MAX >> 2)])), Range { start: 3, end: u64::MAX >> 2 });
    assert_eq!(pieces.next(), Some(Piece::Zeroes(ZEROES)));
    let rest = read_pieces(&[Extent::Hole(3 * ZEROES as u64)], 1, 2 * ZEROES as u64 + 5);
    assert_eq!(rest, [(false, 0, ZEROES), (false, 0, ZEROES), (false, 0, 4)]);
}
