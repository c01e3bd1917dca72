//! What travels: every kind has a status, names keep their bytes, frames are strict.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;
use vfs_core::{Error, Kind};

use super::control::{ControlAnswer, ControlCall, ControlRequest, Outcome};
use super::error::{ErrorDetail, kind_of_status, status};
use super::mount::Note;
use super::name::{from_query, from_text, to_query, to_segment, to_text};
use super::{JobLine, frames};

#[test]
fn every_kind_has_a_status_of_an_error_and_comes_back_from_the_wire() {
    for kind in Kind::ALL {
        assert!((400..600).contains(&status(kind)), "{kind:?}");
        let detail = ErrorDetail::from(&Error::new(kind, "what").because(Error::new(Kind::Internal, "secret cause")));
        let text = serde_json::to_string(&detail).unwrap();
        assert!(!text.contains("secret"), "the cause is shown: {text}");
        let back: Error = serde_json::from_str::<ErrorDetail>(&text).unwrap().into();
        assert_eq!((back.kind(), back.context()), (kind, "what"));
    }
}

#[test]
fn statuses_say_what_a_proxy_may_do() {
    // A proxy or a load balancer may retry 503, and must not retry what our side calls a conflict.
    assert_eq!(status(Kind::Unavailable), 503);
    assert_eq!(status(Kind::LeaseLost), 409);
    assert_eq!(status(Kind::Denied), 403);
    for kind in Kind::ALL {
        let guessed = kind_of_status(status(kind));
        let retried = |kind| kind == Kind::Unavailable;
        assert_eq!(retried(guessed), retried(kind), "{kind:?} would be treated as {guessed:?}");
    }
}

#[test]
fn control_messages_look_as_decided() {
    let barrier = ControlRequest { id: 7, call: ControlCall::Barrier { note: Note::default(), freeze: true } };
    let value = serde_json::to_value(&barrier).unwrap();
    assert_eq!(
        (&value["id"], &value["method"], &value["params"]["freeze"]),
        (&json!(7), &json!("barrier"), &json!(true))
    );
    assert_eq!(serde_json::from_value::<ControlRequest>(value).unwrap(), barrier);
    let status: ControlRequest = serde_json::from_value(json!({"id": 8, "method": "status"})).unwrap();
    assert_eq!(status.call, ControlCall::Status);
    let answer = ControlAnswer { id: 7, outcome: Outcome::Ok(json!("00ff")) };
    assert_eq!(serde_json::to_value(&answer).unwrap(), json!({"id": 7, "ok": "00ff"}));
    let refusal: ControlAnswer =
        serde_json::from_value(json!({"id": 7, "error": {"kind": "busy", "message": "later"}})).unwrap();
    assert!(matches!(refusal.outcome, Outcome::Error(detail) if detail.kind == "busy"));
}

#[test]
fn lines_of_a_job_look_as_documented() {
    assert_eq!(serde_json::to_value(JobLine::Result(3)).unwrap(), json!({"result": 3}));
    let line: JobLine<u8> =
        serde_json::from_value(json!({"progress": {"what": "files", "done": 1, "total": null}})).unwrap();
    assert!(matches!(line, JobLine::Progress(progress) if progress.what == "files" && progress.total.is_none()));
}

#[test]
fn frames_over_a_limit_are_refused_before_they_are_read() {
    let body = frames::encode(&[b"four".as_slice(), b"five5"]);
    assert_eq!(
        frames::decode(body.clone(), 2, 5).unwrap(),
        [Bytes::from_static(b"four"), Bytes::from_static(b"five5")]
    );
    assert_eq!(frames::decode(body.clone(), 1, 5).unwrap_err().kind(), Kind::LimitExceeded);
    assert_eq!(frames::decode(body, 2, 4).unwrap_err().kind(), Kind::LimitExceeded);
    // A count that nobody could send must not be allocated.
    assert_eq!(frames::decode(Bytes::from_static(&[0xff; 4]), 256, 5).unwrap_err().kind(), Kind::LimitExceeded);
}

#[test]
fn a_chunk_reference_is_bounded() {
    let chunk = vfs_core::object::ChunkRef {
        id: vfs_core::id::ChunkId::from_bytes([1; 32]),
        digest: vfs_core::id::PlainDigest::from_bytes([2; 32]),
        length: 3,
    };
    let item = frames::chunk_ref_to_item(&chunk);
    assert_eq!(frames::chunk_ref_from_item(&item).unwrap(), chunk);
    assert!(frames::chunk_ref_from_item(&item[1..]).is_err());
    for length in [0, vfs_core::limits::CHUNK_MAX as u32 + 1] {
        assert!(
            frames::chunk_ref_from_item(&frames::chunk_ref_to_item(&vfs_core::object::ChunkRef { length, ..chunk }))
                .is_err()
        );
    }
}

#[test]
fn a_segment_holds_no_slash() {
    assert_eq!(to_segment("a/b ?"), "a%2Fb%20%3F");
}

proptest! {
    #[test]
    fn frames_come_back(items in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
        let back = frames::decode(frames::encode(&items), 20, 40).unwrap();
        prop_assert_eq!(back, items);
    }

    #[test]
    fn frames_that_were_cut_or_grew_are_refused(
        items in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let body = frames::encode(&items);
        prop_assert!(frames::decode(body.slice(..cut.index(body.len())), 20, 40).is_err());
        let mut longer = body.to_vec();
        longer.push(0);
        prop_assert!(frames::decode(longer.into(), 20, 40).is_err());
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(body in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(items) = frames::decode(body.clone().into(), 20, 40) {
            prop_assert_eq!(frames::encode(&items), body);
        }
    }

    #[test]
    fn names_keep_their_bytes_in_json_and_in_queries(name in prop::collection::vec(any::<u8>(), 0..60)) {
        let (text, exact) = to_text(&name);
        prop_assert_eq!(from_text(&text, exact.as_deref()).unwrap(), name.clone());
        prop_assert_eq!(from_query(&to_query(&name)), name);
    }
}
