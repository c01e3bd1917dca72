//! What a process sees of an open document, and what is sent of it.

use super::*;

const NOW: Time = Time { seconds: 1, nanos: 0 };

fn opened(content: &[u8]) -> Buffer {
    Buffer::read_from("a".into(), "org".into(), Basis::Version(1), content, NOW)
}

#[test]
fn writes_go_where_they_are_told() {
    let mut buffer = opened(b"hello");
    assert!(!buffer.is_unsent());
    buffer.write(Some(1), b"EL", NOW).unwrap();
    buffer.write(Some(7), b"!", NOW).unwrap();
    buffer.write(None, b"?", NOW).unwrap();
    assert_eq!(buffer.read(0, 100), b"hELlo\0\0!?");
    assert_eq!((buffer.read(2, 2), buffer.read(100, 1)), (&b"Ll"[..], &b""[..]));
    buffer.resize(2, NOW).unwrap();
    assert_eq!(buffer.letter().unwrap().content, "hE");
}

#[test]
fn nothing_grows_beyond_a_document() {
    let mut buffer = opened(b"");
    buffer.write(Some(SIZE_MAX_BYTES - 1), b"x", NOW).unwrap();
    assert_eq!(buffer.write(None, b"x", NOW).unwrap_err(), Errno::EFBIG);
    assert_eq!(buffer.write(Some(u64::MAX), b"x", NOW).unwrap_err(), Errno::EFBIG);
    assert_eq!(buffer.resize(SIZE_MAX_BYTES + 1, NOW).unwrap_err(), Errno::EFBIG);
    assert_eq!(buffer.len(), SIZE_MAX_BYTES);
}

#[test]
fn what_an_open_does_waits_for_the_second_close() {
    let mut buffer = Buffer::empty("a".into(), "org".into(), Basis::Absent, NOW);
    assert!(buffer.is_new());
    assert!(!buffer.sends_at_close() && buffer.sends_at_close());
    let letter = buffer.letter().unwrap();
    assert_eq!(letter.content, "");
    buffer.sent(&letter, Some(1));
    assert!(!buffer.is_new() && !buffer.sends_at_close());

    let mut buffer = Buffer::empty("a".into(), "org".into(), Basis::Absent, NOW);
    assert!(!buffer.sends_at_close());
    buffer.write(Some(0), b"x", NOW).unwrap();
    assert!(buffer.sends_at_close());
    assert_eq!(buffer.letter().unwrap().content, "x");
}

#[test]
fn the_basis_moves_on_with_what_was_stored() {
    let mut buffer = opened(b"a");
    buffer.write(None, b"b", NOW).unwrap();
    let letter = buffer.letter().unwrap();
    assert_eq!(letter.basis, Basis::Version(1));
    // More was written while the letter was under way.
    buffer.write(None, b"c", NOW).unwrap();
    buffer.sent(&letter, Some(2));
    let letter = buffer.letter().unwrap();
    assert_eq!((letter.basis, &letter.content[..]), (Basis::Version(2), &b"abc"[..]));
    buffer.sent(&letter, None);
    assert_eq!((buffer.letter(), buffer.basis), (None, Basis::Version(2)));
}

#[test]
fn a_removed_document_is_not_sent() {
    let mut buffer = opened(b"a");
    buffer.write(None, b"b", NOW).unwrap();
    buffer.path = None;
    assert!(!buffer.is_unsent() && buffer.letter().is_none());
}

#[test]
fn after_a_merge_only_the_end_can_be_written() {
    let mut buffer = opened(b"old\n");
    buffer.write(Some(4), b"mine\n", NOW).unwrap();
    let letter = buffer.letter().unwrap();
    buffer.write(Some(9), b"later\n", NOW).unwrap();
    buffer.merged(&letter, 3, b"old\ntheirs\nmine\n");
    assert_eq!(buffer.read(0, 100), b"old\ntheirs\nmine\nlater\n");
    assert_eq!((buffer.basis, buffer.is_unsent()), (Basis::Version(3), true));
    buffer.write(Some(15), b"more\n", NOW).unwrap();
    buffer.write(Some(20), b"and more\n", NOW).unwrap();
    buffer.write(None, b"end\n", NOW).unwrap();
    assert_eq!(buffer.read(0, 100), b"old\ntheirs\nmine\nlater\nmore\nand more\nend\n");
    assert_eq!(buffer.write(Some(4), b"x", NOW).unwrap_err(), Errno::ESTALE);
    assert_eq!(buffer.resize(3, NOW).unwrap_err(), Errno::ESTALE);
    buffer.resize(0, NOW).unwrap();
    buffer.write(Some(0), b"x", NOW).unwrap();
    assert_eq!(buffer.read(0, 100), b"x");
}

#[test]
fn a_change_in_the_middle_of_a_merge_is_refused_from_then_on() {
    let mut buffer = opened(b"old\n");
    buffer.write(None, b"mine\n", NOW).unwrap();
    let letter = buffer.letter().unwrap();
    buffer.write(Some(0), b"OLD", NOW).unwrap();
    buffer.merged(&letter, 3, b"old\ntheirs\nmine\n");
    assert_eq!(buffer.letter().unwrap().basis, Basis::Version(1));
    assert_eq!(buffer.write(None, b"x", NOW).unwrap_err(), Errno::ESTALE);
}
