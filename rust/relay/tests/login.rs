//! Logins of clients: psql and raw ones, through a gateway, to a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::*;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;

const REFUSED: &str = "identity could not be established";

#[test]
fn a_static_token_logs_in_plain_over_tls_and_bound_to_it() {
    let house = house(|_| {});
    for options in
        ["sslmode=disable", "sslmode=require", "sslmode=require channel_binding=require", "gssencmode=prefer"]
    {
        assert_eq!(house.ask(options, "select 40 + 2"), Ok("42".to_owned()), "{options}");
    }
    let second = house.psql("").env("PGPASSWORD", OTHER_TOKEN).args(["-c", "select 1"]).output().unwrap();
    assert_eq!(told(second), Ok("1".to_owned()));
    let logins = house.seen("login");
    assert_eq!(logins[0]["tls"], false);
    assert_eq!(logins[1]["tls"], true);
    assert_eq!(logins[0]["proof"], json!({"kind": "scram", "token": "abcdefghij"}));
    assert_eq!(logins.last().unwrap()["proof"]["token"], "bcdefghijk");
}

#[test]
fn every_failed_proof_is_answered_alike_in_text_and_time() {
    let house = house(|_| {});
    let mut answers = Vec::new();
    for (user, password) in [
        ("agent", "pst_abcdefghij_wrong"),
        ("nobody", TOKEN),
        ("expired", TOKEN),
        ("pipeline", "wrong"),
        ("revoked", CLEAR),
    ] {
        let began = Instant::now();
        let refused = house
            .psql(&format!("user={user} sslmode=disable"))
            .env("PGPASSWORD", password)
            .args(["-c", "select 1"])
            .output();
        let text = told(refused.unwrap()).unwrap_err();
        let spent = began.elapsed();
        assert!(text.contains(REFUSED) && spent >= Duration::from_millis(300), "{user}: {text} after {spent:?}");
        answers.push(text);
    }
    assert!(answers.iter().all(|text| text == &answers[0]), "{answers:?}");
    let alerts = house.seen("alert");
    assert_eq!(alerts.len(), 5);
    assert!(!house.events.lock().unwrap().iter().any(|event| event.to_string().contains("pst_abcdefghij_wrong")));
    assert!(house.gateway.metrics().contains("penstock_logins_failed_total 5\n"));
}

#[test]
fn guessing_is_slowed_with_a_clear_error() {
    let house = house(|_| {});
    let guess = || {
        let mut stream = house.connect();
        stream.write_all(&startup(0, &[("user", "pipeline"), ("database", "shop")])).unwrap();
        if message(&mut stream).0 == b'R' {
            send(&mut stream, b'p', b"guess\0");
        }
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        String::from_utf8_lossy(&rest).into_owned()
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..12).map(|_| scope.spawn(guess)).collect();
        let _: Vec<_> = all.into_iter().map(|one| one.join().unwrap()).collect();
    });
    let mut stream = house.connect();
    stream.write_all(&startup(0, &[("user", "pipeline"), ("database", "shop")])).unwrap();
    let (code, text) = fatal(&mut stream);
    assert!(code == "53300" && text.contains("too many failed logins"), "{code} {text}");
}

#[test]
fn versions_are_negotiated_as_postgresql_does() {
    let house = house(|_| {});
    for (minor, options, negotiated, key_bytes) in [
        (0, &[][..], None, 8),
        (1, &[], None, 8),
        (2, &[], None, 36),
        (9999, &[], Some((2, 0)), 36),
        (0, &["_pq_.command_tag", "_pq_.other"], Some((0, 2)), 8),
    ] {
        let mut settings = vec![("user", "pipeline"), ("database", "shop")];
        settings.extend(options.iter().map(|name| (*name, "1")));
        let mut stream = house.connect();
        stream.write_all(&startup(minor, &settings)).unwrap();
        let mut next = message(&mut stream);
        if let Some((newest, unknown)) = negotiated {
            assert_eq!((next.0, &next.1[..8]), (b'v', &[0, 3, 0, newest, 0, 0, 0, unknown][..]));
            assert_eq!(
                next.1[8..],
                options.iter().flat_map(|name| [name.as_bytes(), b"\0"].concat()).collect::<Vec<_>>()
            );
            next = message(&mut stream);
        }
        assert_eq!(next, (b'R', vec![0, 0, 0, 3]));
        send(&mut stream, b'p', &[CLEAR.as_bytes(), b"\0"].concat());
        let all = messages_to(&mut stream, b'Z');
        assert_eq!(all.iter().find(|(tag, _)| *tag == b'K').unwrap().1.len(), key_bytes, "3.{minor}");
    }
}

#[test]
fn what_cannot_be_served_is_refused_with_its_reason() {
    let house = house(|_| {});
    let user = ("user", "pipeline");
    for (packet, code, part) in [
        (startup(0, &[user, ("replication", "database")]), "0A000", "replication"),
        (startup(0, &[user, ("replication", "true")]), "0A000", "replication"),
        (startup(0, &[("database", "shop")]), "28000", "no user"),
        (packet(&[0, 2, 0, 0, 0]), "0A000", "version 2.0"),
        (packet(&[0; 4]), "0A000", "version 0.0"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "08P01", "start-up packet"),
        (packet(&[0, 3, 0, 0, b'u', 0]), "08P01", "badly laid out"),
    ] {
        let mut stream = house.connect();
        stream.write_all(&packet).unwrap();
        let (got, text) = fatal(&mut stream);
        assert!(got == code && text.contains(part), "{got} {text}");
    }
    let unknown = house.ask("dbname=elsewhere", "select 1").unwrap_err();
    assert!(unknown.contains("no target of the gateway has a database \"elsewhere\""), "{unknown}");
}

#[test]
fn nothing_may_come_between_the_request_for_tls_and_tls() {
    let house = house(|_| {});
    let ssl_request = packet(&80_877_103_u32.to_be_bytes());
    let mut stream = house.connect();
    stream.write_all(&[&ssl_request[..], &startup(0, &[("user", "pipeline")])].concat()).unwrap();
    assert_eq!(fatal(&mut stream).0, "08P01");
    let mut stream = house.connect();
    stream.write_all(&packet(&80_877_104_u32.to_be_bytes())).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [b'N'], "GSSAPI encryption is declined");
    stream.write_all(&startup(0, &[("user", "pipeline"), ("database", "shop")])).unwrap();
    assert_eq!(message(&mut stream), (b'R', vec![0, 0, 0, 3]));
}

/// TLS without asking for it first, naming `alpn`, for the host `name`.
fn direct(
    house: &House,
    alpn: &[&[u8]],
    name: &'static str,
) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(cluster().pem("ca.crt").as_bytes()).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let connection = rustls::ClientConnection::new(Arc::new(config), ServerName::try_from(name).unwrap()).unwrap();
    rustls::StreamOwned::new(connection, house.connect())
}

#[test]
fn tls_may_begin_at_once_if_it_names_the_protocol_and_its_name_chooses_the_target() {
    let house = house(|settings| {
        let mut other = settings["targets"][0].clone();
        other["name"] = "other".into();
        other["server_names"] = json!(["localhost"]);
        other["databases"] = json!(["postgres"]);
        settings["targets"].as_array_mut().unwrap().push(other);
    });
    let hello = startup(0, &[("user", "pipeline"), ("database", "shop")]);
    for (name, opened) in [("shop.example", true), ("localhost", false)] {
        let mut stream = direct(&house, &[b"postgresql"], name);
        stream.write_all(&hello).unwrap();
        let mut request = [0; 9];
        stream.read_exact(&mut request).unwrap();
        stream.write_all(&[&b"p"[..], &packet(&[CLEAR.as_bytes(), b"\0"].concat())].concat()).unwrap();
        stream.read_exact(&mut request[..1]).unwrap();
        assert_eq!(request[0], if opened { b'R' } else { b'E' }, "{name} leads to the target it names, or to none");
    }
    let mut unnamed = direct(&house, &[], "localhost");
    let outcome = unnamed.write_all(&hello).and_then(|()| unnamed.read_exact(&mut [0]));
    assert!(outcome.is_err(), "TLS that names no protocol");
    let mut foreign = direct(&house, &[b"http/1.1"], "localhost");
    assert!(foreign.write_all(&hello).and_then(|()| foreign.read_exact(&mut [0])).is_err());
}

#[test]
fn limits_have_their_own_error_and_are_given_back() {
    let house = house(|settings| {
        settings["limits"]["connections"] = 3.into();
        settings["limits"]["connections_per_identity"] = 2.into();
    });
    let (first, _) = clear_login(&house, 0);
    let (second, _) = clear_login(&house, 0);
    let refused = |user: &str| {
        let mut stream = house.connect();
        stream.write_all(&startup(0, &[("user", user), ("database", "shop")])).unwrap();
        let asked = message(&mut stream);
        if asked.0 == b'R' {
            send(&mut stream, b'p', &[CLEAR.as_bytes(), b"\0"].concat());
            return (stream.try_clone().unwrap(), fatal(&mut stream));
        }
        (stream, (error(&asked.1).1, error(&asked.1).2))
    };
    let (_, (code, text)) = refused("pipeline");
    assert!(code == "53300" && text.contains("all 2 sessions"), "{code} {text}");
    let _waiting = house.connect();
    house.until("the third connection", || house.gateway.metrics().contains("penstock_connections 3\n"));
    let (_, (code, text)) = refused("pipeline");
    assert!(code == "53300" && text.contains("all 3 connections"), "{code} {text}");
    drop((first, second));
    house.until("the end of both", || house.gateway.metrics().contains("penstock_connections 1\n"));
    let _ = clear_login(&house, 0);
}

#[test]
fn a_login_that_dawdles_ends_and_so_does_one_that_nobody_judges() {
    let house = house(|settings| settings["limits"]["login_seconds"] = 1.into());
    let mut silent = house.connect();
    silent.write_all(&[0, 0]).unwrap();
    assert!(fatal(&mut silent).1.contains("longer than 1 seconds"));
    let mut ignored = house.connect();
    ignored.write_all(&startup(0, &[("user", "ignored"), ("database", "shop")])).unwrap();
    message(&mut ignored);
    send(&mut ignored, b'p', b"x\0");
    let (code, text) = fatal(&mut ignored);
    assert!(code == "53300" || text.contains("longer than"), "{code} {text}");
}

#[test]
fn a_listener_in_use_says_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings["listeners"]["postgres"]["bind"] = taken.local_addr().unwrap().to_string().into();
    let gateway = relay::Gateway::open(settings.to_string().as_bytes()).unwrap();
    let fault = gateway.start().unwrap_err();
    assert!(
        fault.message.contains("listeners.postgres: cannot listen on")
            && fault.hint.unwrap().contains("another program")
    );
}
