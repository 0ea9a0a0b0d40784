//! Logins whole, split at every byte, cut short and hostile.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use model::{FaultKind, Whose};
use proptest::prelude::*;

use super::*;
use crate::greeting::{DialStep, KnownToken, Method, Proof, Purpose, Reached, Secured, Security, SessionKey, Step};
use crate::scram::{Client, Verifier, salt_of};

const TOKEN: &str = "pst_abcdefghij_secret";
const KEY: SessionKey = SessionKey { id: 7, secret: [9; 32] };
const OPEN: Greet = Greet { tls: false, local: true };

fn startup(minor: u32, settings: &[(&str, &str)]) -> Vec<u8> {
    let mut out = BytesMut::new();
    packet::put_untagged(&mut out, |body| {
        body.extend_from_slice(&(3 << 16 | minor).to_be_bytes());
        for (name, value) in settings {
            packet::put_cstr(body, name.as_bytes());
            packet::put_cstr(body, value.as_bytes());
        }
        body.extend_from_slice(&[0]);
    });
    out.to_vec()
}

fn tagged(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    packet::put(&mut out, tag, |to| to.extend_from_slice(body));
    out.to_vec()
}

/// Every message in `bytes`; panics if they are not whole.
fn messages(bytes: &[u8]) -> Vec<(u8, Bytes)> {
    let mut input = BytesMut::from(bytes);
    let mut all = Vec::new();
    while let Some(message) = packet::message(&mut input, 1 << 20, Whose::Target).unwrap() {
        all.push((message.tag, message.body));
    }
    assert!(input.is_empty(), "half a message was written");
    all
}

fn known() -> Method {
    let verifier = Verifier::of(TOKEN, &salt_of("agent"), NonZeroU32::new(4096).unwrap());
    Method::Scram(vec![KnownToken { id: "abcdefghij".into(), verifier: Arc::new(verifier) }])
}

/// Feeds `bytes` in pieces of `size`; the step after the last.
fn feed(login: &mut dyn Greeting, bytes: &[u8], size: usize, out: &mut BytesMut) -> Result<Step, model::Fault> {
    let mut input = BytesMut::new();
    let mut last = Ok(Step::More);
    for piece in bytes.chunks(size) {
        input.extend_from_slice(piece);
        last = login.advance(&mut input, out);
        if last.is_err() {
            break;
        }
    }
    last
}

/// A whole SCRAM login in pieces of `size`; what the client is sent in the end.
fn scram(size: usize, password: &str, method: Method) -> Result<(String, Vec<(u8, Bytes)>), model::Fault> {
    let mut login = greet(OPEN);
    let mut out = BytesMut::new();
    let hello = startup(2, &[("user", "agent"), ("database", "shop"), ("search_path", "x")]);
    assert!(matches!(feed(&mut *login, &hello, size, &mut out)?, Step::Identify));
    login.identified(method);
    assert!(matches!(login.advance(&mut BytesMut::new(), &mut out)?, Step::More));
    assert_eq!(messages(&out.split())[0].1[4..], b"SCRAM-SHA-256\0\0"[..]);
    let mut client = Client::new(None, false).unwrap();
    let first = client.first();
    let length = u32::try_from(first.len()).unwrap().to_be_bytes();
    let initial = [b"SCRAM-SHA-256\0", &length[..], first.as_bytes()].concat();
    assert!(matches!(feed(&mut *login, &tagged(b'p', &initial), size, &mut out)?, Step::More));
    let challenge = messages(&out.split())[0].1.clone();
    let derived = client.challenged(&challenge[4..], password).unwrap().run();
    let answer = tagged(b'p', client.answer(&derived).as_bytes());
    let Step::Judge(Proof::Scram { token }) = feed(&mut *login, &answer, size, &mut out)? else { panic!("no proof") };
    assert!(out.is_empty(), "nothing is said before the judgement");
    login.admit(&[(Bytes::from_static(b"name"), Bytes::from_static(b"value"))], &KEY, &mut out);
    let welcome = messages(&out);
    client.confirm(&welcome[0].1[4..]).unwrap();
    Ok((token.to_string(), welcome))
}

#[test]
fn a_static_token_logs_in_however_its_bytes_are_split() {
    for size in [1, 2, 3, 7, 10_000] {
        let (token, welcome) = scram(size, TOKEN, known()).unwrap();
        assert_eq!(token, "abcdefghij");
        assert_eq!(welcome.iter().map(|(tag, _)| *tag).collect::<Vec<_>>(), b"RRSKZ");
        assert_eq!(welcome[3].1.len(), 36);
    }
}

#[test]
fn no_wrong_proof_and_no_unknown_user_says_why() {
    let wrong = scram(64, "wrong", known()).unwrap_err();
    let unknown = scram(64, TOKEN, Method::Unknown).unwrap_err();
    let none = scram(64, TOKEN, Method::Scram(Vec::new())).unwrap_err();
    assert!(wrong == unknown && unknown == none && wrong == crate::greeting::unproven());
}

#[test]
fn a_clear_token_stays_off_open_wires() {
    for (greet_with, secured, asks) in [
        (OPEN, false, true),
        (Greet { tls: true, local: false }, true, true),
        (Greet { tls: true, local: false }, false, false),
    ] {
        let mut login = greet(greet_with);
        if secured {
            login.secured(Secured::default());
        }
        let mut out = BytesMut::new();
        feed(&mut *login, &startup(0, &[("user", "pipeline")]), 64, &mut out).unwrap();
        login.identified(Method::Clear);
        let step = login.advance(&mut BytesMut::new(), &mut out);
        assert_eq!(step.is_ok(), asks);
        assert_eq!(!out.is_empty(), asks);
    }
}

#[test]
fn a_login_that_is_cut_short_only_waits() {
    let hello = startup(0, &[("user", "agent")]);
    for cut in 0..hello.len() {
        let mut login = greet(OPEN);
        let step = login.advance(&mut BytesMut::from(&hello[..cut]), &mut BytesMut::new());
        assert!(matches!(step, Ok(Step::More)), "{cut}");
    }
}

#[test]
fn hostile_lengths_are_refused_before_anything_is_kept() {
    for length in [0_u32, 4, 7, 10_001, u32::MAX] {
        let mut input = BytesMut::from(&[&length.to_be_bytes()[..], &[0; 16]].concat()[..]);
        let fault = greet(OPEN).advance(&mut input, &mut BytesMut::new()).unwrap_err();
        assert_eq!((fault.kind, fault.whose), (FaultKind::Protocol, Whose::Client), "{length}");
    }
    for length in [0_u32, 3, 4_000, u32::MAX] {
        let mut login = greet(OPEN);
        let mut out = BytesMut::new();
        feed(&mut *login, &startup(0, &[("user", "agent")]), 64, &mut out).unwrap();
        login.identified(known());
        let mut input = BytesMut::from(&[b"p", &length.to_be_bytes()[..]].concat()[..]);
        assert_eq!(login.advance(&mut input, &mut out).unwrap_err().kind, FaultKind::Protocol, "{length}");
    }
    let cancel = |key: usize| {
        let mut out = BytesMut::new();
        packet::put_untagged(&mut out, |body| {
            body.extend_from_slice(&startup::CANCEL_REQUEST.to_be_bytes());
            body.extend_from_slice(&vec![1; 4 + key]);
        });
        greet(OPEN).advance(&mut out, &mut BytesMut::new())
    };
    assert!(cancel(3).is_err() && cancel(257).is_err());
    assert!(matches!(cancel(4), Ok(Step::Cancel(key)) if key.secret.len() == 4));
    assert!(matches!(cancel(256), Ok(Step::Cancel(key)) if key.secret.len() == 256));
}

fn dialled(security: Security) -> Dial {
    Dial {
        purpose: Purpose::Login,
        security,
        target: "shop".into(),
        user: "reader".into(),
        password: Some("secret".into()),
        set_role: Some("owner".into()),
        database: "shop".into(),
        application: "agent/01".into(),
        settings: vec![
            ("application_name".into(), "mine".into()),
            ("ROLE".into(), "other".into()),
            ("DateStyle".into(), "ISO".into()),
        ],
    }
}

/// What the target sends after the start-up packet of a login with nothing to prove.
fn accepted() -> Vec<u8> {
    [
        tagged(b'R', &[0; 4]),
        tagged(b'S', b"server_version\x0015.0\0"),
        tagged(b'N', b"SNOTICE\0Mhello\0\0"),
        tagged(b'K', &[1; 8]),
        tagged(b'Z', b"I"),
        b"more".to_vec(),
    ]
    .concat()
}

#[test]
fn a_target_is_reached_however_its_bytes_are_split_and_what_follows_is_left() {
    let bytes = accepted();
    for size in 1..bytes.len() {
        let mut login = dial(dialled(Security::Plain));
        let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
        assert!(matches!(login.advance(&mut input, &mut out), Ok(DialStep::More)));
        let text = String::from_utf8_lossy(&out).into_owned();
        assert!(text.contains("application_name\0agent/01\0role\0owner\0") && text.contains("DateStyle"), "{text}");
        assert!(!text.contains("mine") && !text.contains("other"), "{text}");
        let mut reached: Option<Reached> = None;
        for piece in bytes.chunks(size) {
            input.extend_from_slice(piece);
            if reached.is_none()
                && let DialStep::Reached(found) = login.advance(&mut input, &mut out).unwrap()
            {
                reached = Some(found);
            }
        }
        let reached = reached.unwrap();
        assert_eq!((&input[..], reached.parameters.len(), reached.cancel.len()), (&b"more"[..], 1, 16));
        assert_eq!(reached.number, 0x0101_0101);
    }
}

#[test]
fn a_targets_refusal_keeps_its_reason_and_no_control_characters() {
    let mut login = dial(dialled(Security::Plain));
    login.advance(&mut BytesMut::new(), &mut BytesMut::new()).unwrap_or(DialStep::More);
    let error = tagged(b'E', b"SFATAL\0C28P01\0Mno\nway\x07\0\0");
    let fault = login.advance(&mut BytesMut::from(&error[..]), &mut BytesMut::new()).err().unwrap();
    assert!(login.refused() && fault.message.ends_with("no way "), "{}", fault.message);
}

#[test]
fn a_vet_reads_rows_and_refusals() {
    let mut question = vet();
    let mut out = BytesMut::new();
    assert_eq!(question.advance(&mut BytesMut::new(), &mut out), Ok(None));
    let row = [&[0, 1, 0, 0, 0, 3][..], b"abc"].concat();
    let answer = [tagged(b'T', b"xx"), tagged(b'D', &row), tagged(b'C', b"SELECT 1\0"), tagged(b'Z', b"I")].concat();
    assert_eq!(question.advance(&mut BytesMut::from(&answer[..]), &mut out), Ok(Some(vec!["abc".to_owned()])));
    let refusal = [tagged(b'E', b"C42501\0Mno\0\0"), tagged(b'Z', b"I")].concat();
    assert!(vet().advance(&mut BytesMut::from(&refusal[..]), &mut out).is_err());
    let flood = tagged(b'D', &row).repeat(8);
    assert!(vet().advance(&mut BytesMut::from(&flood[..]), &mut out).is_err());
}

#[test]
fn a_refusal_is_one_whole_fatal_error() {
    let fault = model::Fault::denied("no", "denied").hint("do this").reference("r-1");
    let all = messages(&refusal(&fault));
    let text = String::from_utf8_lossy(&all[0].1).into_owned();
    assert!(all.len() == 1 && all[0].0 == b'E');
    assert!(text.starts_with("SFATAL\0VFATAL\0C42501\0Mdenied\0") && text.contains("Hdo this\0"), "{text}");
}

proptest! {
    #[test]
    fn no_bytes_make_a_login_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), tag in "[RSKZENpvX]", size in 1_usize..40) {
        let mut framed = tagged(tag.as_bytes()[0], &bytes);
        framed.extend_from_slice(&bytes);
        for input in [&bytes, &framed] {
            let mut out = BytesMut::new();
            let _ = feed(&mut *greet(Greet { tls: true, local: false }), input, size, &mut out);
            let mut login = greet(OPEN);
            feed(&mut *login, &startup(0, &[("user", "agent")]), 64, &mut out).unwrap();
            login.identified(Method::Unknown);
            let _ = feed(&mut *login, input, size, &mut out);
            for security in [Security::Plain, Security::Offered, Security::Required] {
                let mut login = dial(dialled(security));
                let mut held = BytesMut::new();
                for piece in input.chunks(size) {
                    held.extend_from_slice(piece);
                    if login.advance(&mut held, &mut out).is_err() {
                        break;
                    }
                }
            }
            let _ = vet().advance(&mut BytesMut::from(&input[..]), &mut out);
        }
    }
}
