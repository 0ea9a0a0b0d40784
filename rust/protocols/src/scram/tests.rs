#![allow(clippy::unwrap_used, clippy::panic)]

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const UNBOUND: Offer<'_> = Offer { binding: None, chosen_plus: false };

fn rounds() -> NonZeroU32 {
    NonZeroU32::new(4096).unwrap()
}

fn pencil() -> Verifier {
    Verifier::of("pencil", &STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(), rounds())
}

/// A whole exchange; what the client thinks in the end, and which verifier the server found.
fn exchange(
    password: &str,
    client_binding: Option<&[u8]>,
    could_bind: bool,
    offer: Offer<'_>,
    verifiers: &[&Verifier],
) -> Result<usize, Failure> {
    let mut client = Client::new(client_binding.map(<[u8]>::to_vec), could_bind)?;
    let challenge = Challenge::new(client.first().as_bytes(), offer, verifiers[0])?;
    let derived = client.challenged(challenge.message().as_bytes(), password)?.run();
    let answer = client.answer(&derived);
    let (index, proof) = challenge.judge(answer.as_bytes(), verifiers)?;
    client.confirm(proof.as_bytes())?;
    Ok(index)
}

#[test]
fn the_example_of_rfc_7677_is_reproduced_by_both_sides() {
    let mut client = Client::with_nonce(None, false, "user", CLIENT_NONCE.to_owned());
    assert_eq!(client.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let challenge = Challenge::with_nonce(client.first().as_bytes(), UNBOUND, &pencil(), SERVER_NONCE).unwrap();
    assert_eq!(
        challenge.message(),
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let derived = client.challenged(challenge.message().as_bytes(), "pencil").unwrap().run();
    let answer = client.answer(&derived);
    assert_eq!(
        answer,
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    let (index, proof) = challenge.judge(answer.as_bytes(), &[&pencil()]).unwrap();
    assert_eq!((index, proof.as_str()), (0, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    assert_eq!(client.confirm(proof.as_bytes()), Ok(()));
}

#[test]
fn two_live_tokens_share_a_challenge_and_each_is_found() {
    let salt = salt_of("agent-7");
    let (old, new) = (Verifier::of("old", &salt, rounds()), Verifier::of("new", &salt, rounds()));
    assert_eq!(exchange("old", None, false, UNBOUND, &[&old, &new]), Ok(0));
    assert_eq!(exchange("new", None, false, UNBOUND, &[&old, &new]), Ok(1));
    assert_eq!(exchange("other", None, false, UNBOUND, &[&old, &new]), Err(Failure::Unproven));
}

#[test]
fn an_imitation_looks_alike_at_every_try_and_admits_nobody() {
    let (one, two) = (Verifier::imitation("ghost").unwrap(), Verifier::imitation("ghost").unwrap());
    assert_eq!((one.iterations, &one.salt), (two.iterations, &two.salt));
    assert_eq!(one.salt, salt_of("ghost"));
    assert_eq!(exchange("x", None, false, UNBOUND, &[&one]), Err(Failure::Unproven));
}

#[test]
fn channel_binding_must_agree() {
    let offered = Offer { binding: Some(b"our certificate"), chosen_plus: false };
    let chosen = Offer { chosen_plus: true, ..offered };
    assert_eq!(exchange("pencil", Some(b"our certificate"), true, chosen, &[&pencil()]), Ok(0));
    // Somebody in the middle: the client saw another certificate.
    assert_eq!(exchange("pencil", Some(b"a false one"), true, chosen, &[&pencil()]), Err(Failure::Unproven));
    // A downgrade: the client was told that no binding is offered.
    assert_eq!(exchange("pencil", None, true, offered, &[&pencil()]), Err(Failure::Unproven));
    // A client that cannot bind may come without; where nothing is offered, "could have" is the truth.
    assert_eq!(exchange("pencil", None, false, offered, &[&pencil()]), Ok(0));
    assert_eq!(exchange("pencil", None, true, UNBOUND, &[&pencil()]), Ok(0));
    // The mechanism and the header contradict each other.
    assert!(exchange("pencil", None, false, chosen, &[&pencil()]).is_err());
    assert!(exchange("pencil", Some(b"our certificate"), true, offered, &[&pencil()]).is_err());
}

#[test]
fn hostile_first_messages_are_malformed() {
    let long = format!("n,,n=,r={}", "a".repeat(MESSAGE_BYTES));
    for message in
        ["", "n", "n,", "n,,", "n,,n=", "n,,r=abc", "n,a=admin,n=,r=abc", "p=tls-unique,,n=,r=abc", "x,,n=,r=a"]
    {
        let failure = Challenge::new(message.as_bytes(), UNBOUND, &pencil()).map(|_| ()).unwrap_err();
        assert!(matches!(failure, Failure::Malformed(_)), "{message}: {failure:?}");
    }
    for message in ["n,,m=ext,n=,r=abc", "n,,n=,r=", "n,,n=,r=a\tb", long.as_str()] {
        assert!(Challenge::new(message.as_bytes(), UNBOUND, &pencil()).is_err(), "{message}");
    }
}

#[test]
fn a_hostile_server_cannot_make_the_client_work_or_believe() {
    let mut client = Client::with_nonce(None, false, "", "abc".to_owned());
    for challenge in [
        "r=abcd,s=AAAA,i=600001",
        "r=abcd,s=AAAA,i=0",
        "r=abcd,s=AAAA,i=99999999999999999999",
        "r=abc,s=AAAA,i=4096",
        "r=zzzz,s=AAAA,i=4096",
        "r=abcd,s=,i=4096",
        "r=abcd,s=?,i=4096",
        "m=x,r=abcd,s=AAAA,i=4096",
        "",
    ] {
        assert!(client.challenged(challenge.as_bytes(), "x").is_err(), "{challenge}");
    }
    assert!(client.confirm(b"v=AAAA").is_err(), "a proof before the answer");
    let derived = client.challenged(b"r=abcd,s=AAAA,i=1", "x").unwrap().run();
    let _ = client.answer(&derived);
    assert_eq!(client.confirm(b"v=AAAA"), Err(Failure::Unproven));
    assert_eq!(client.confirm(b"e=invalid-proof"), Err(Failure::Unproven));
    assert!(client.confirm(b"v=").is_err());
}

#[test]
fn a_verifier_is_read_as_it_is_written_and_nothing_else_is() {
    let text = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    assert_eq!(Verifier::parse(text), Ok(pencil()));
    for cut in 0..text.len() {
        assert!(Verifier::parse(&text[..cut]).is_err(), "{cut}");
    }
    assert!(Verifier::parse(&text.replace("4096", "1")).is_err());
    assert!(Verifier::parse(&text.replace("4096", "4000000000")).is_err());
}

proptest! {
    #[test]
    fn no_message_makes_either_side_panic(first in ".{0,80}", last in ".{0,80}", raw in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = Challenge::new(&raw, UNBOUND, &pencil());
        let _ = Challenge::new(first.as_bytes(), Offer { binding: Some(b"x"), chosen_plus: true }, &pencil());
        if let Ok(challenge) = Challenge::new(b"n,,n=,r=abc", UNBOUND, &pencil()) {
            prop_assert!(challenge.judge(last.as_bytes(), &[&pencil()]).is_err());
        }
        let client = Client::new(None, false).unwrap();
        let _ = client.challenged(last.as_bytes(), "x");
        let _ = client.confirm(&raw);
        let _ = end_point(&raw);
        let _ = Verifier::parse(&first);
    }
}
