//! Logins to targets: every TLS mode and every way to prove a password, against a real PostgreSQL and false ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use common::*;
use serde_json::{Value, json};

/// What a session sees with this credential and TLS.
fn through(tls: Value, credential: Value) -> Result<String, String> {
    let house = house(|settings| {
        let target = &mut settings["targets"][0];
        target["tls"].as_object_mut().unwrap().extend(tls.as_object().unwrap().clone());
        target["credentials"]["default"].as_object_mut().unwrap().extend(credential.as_object().unwrap().clone());
    });
    house.ask("sslmode=disable", "select current_user, ssl from pg_stat_ssl where pid = pg_backend_pid()")
}

fn user(name: &str) -> Value {
    json!({ "user": name })
}

#[test]
fn each_tls_mode_does_what_libpq_does() {
    let ca = cluster().pem("ca.crt");
    let stranger = cluster().pem("stranger.crt");
    let pinned = cluster().pem("server.crt");
    for (mode, ca, name, seen) in [
        ("disable", None, "reader", Ok("reader|f")),
        ("allow", None, "reader", Ok("reader|f")),
        ("prefer", None, "reader", Ok("reader|t")),
        ("require", None, "reader", Ok("reader|t")),
        ("verify-ca", Some(&ca), "reader", Ok("reader|t")),
        ("verify-full", Some(&ca), "reader", Ok("reader|t")),
        ("verify-full", Some(&pinned), "reader", Ok("reader|t")),
        ("verify-ca", Some(&stranger), "reader", Err("did not agree on TLS")),
        ("require", Some(&stranger), "reader", Err("did not agree on TLS")),
        // Only TLS is let in, or only the plain connection: the other is tried where the mode allows.
        ("disable", None, "tls_user", Err("refused the gateway's own login")),
        ("allow", None, "tls_user", Ok("tls_user|t")),
        ("prefer", None, "plain_user", Ok("plain_user|f")),
        ("require", None, "plain_user", Err("refused the gateway's own login")),
    ] {
        let told = through(json!({"mode": mode, "ca": ca}), user(name));
        match seen {
            Ok(seen) => assert_eq!(told.as_deref(), Ok(seen), "{mode} {name}"),
            Err(part) => assert!(told.as_ref().is_err_and(|text| text.contains(part)), "{mode} {name}: {told:?}"),
        }
    }
}

#[test]
fn verify_full_wants_the_hosts_own_name() {
    let (ca, port) = (cluster().pem("ca.crt"), cluster().port);
    for (host, mode, good) in
        [("localhost", "verify-full", true), ("127.0.0.1", "verify-full", false), ("127.0.0.1", "verify-ca", true)]
    {
        let house = house(|settings| {
            settings["targets"][0]["address"] = format!("{host}:{port}").into();
            settings["targets"][0]["tls"]["mode"] = mode.into();
            settings["targets"][0]["tls"]["ca"] = ca.as_str().into();
        });
        let told = house.ask("", "select 1");
        assert_eq!(told.is_ok(), good, "{host} {mode}: {told:?}");
    }
}

#[test]
fn every_proof_is_given_and_the_clear_one_only_inside_tls() {
    assert_eq!(through(json!({"mode": "disable"}), user("md5_user")).as_deref(), Ok("md5_user|f"));
    assert_eq!(through(json!({"mode": "require"}), user("clear_user")).as_deref(), Ok("clear_user|t"));
    let refused = through(json!({"mode": "disable"}), user("clear_user")).unwrap_err();
    assert!(refused.contains("asks for the password in clear outside TLS"), "{refused}");
    let (cert, key) = (cluster().pem("client.crt"), cluster().pem("client.key"));
    let told =
        through(json!({"mode": "require"}), json!({"user": "cert_user", "password": null, "cert": cert, "key": key}));
    assert_eq!(told.as_deref(), Ok("cert_user|t"));
    let without = through(json!({"mode": "require"}), json!({"user": "cert_user", "password": null})).unwrap_err();
    assert!(without.contains("refused the gateway's own login"), "{without}");
    let wrong = through(json!({"mode": "prefer"}), json!({"password": "not-the-secret"})).unwrap_err();
    assert!(wrong.contains("refused the gateway's own login") && !wrong.contains("not-the-secret"), "{wrong}");
    let none = through(json!({"mode": "prefer"}), json!({"password": null})).unwrap_err();
    assert!(none.contains("has no password"), "{none}");
}

#[test]
fn a_credential_that_could_step_round_the_rules_is_refused_unless_accepted() {
    for (name, power) in
        [("rooty", "superuser rooty"), ("filer", "pg_read_server_files"), ("sneaky", "superuser rooty")]
    {
        let refused = through(json!({}), user(name)).unwrap_err();
        assert!(refused.contains("could step round every rule") && refused.contains(power), "{refused}");
    }
    let house = house(|settings| {
        settings["targets"][0]["credentials"]["default"]["user"] = "rooty".into();
        settings["targets"][0]["accept_superuser"] = true.into();
    });
    assert_eq!(house.ask("", "select current_user").as_deref(), Ok("rooty"));
}

#[test]
fn settings_are_passed_on_the_name_is_ours_and_the_role_stays() {
    let house = house(|settings| settings["targets"][0]["credentials"]["default"]["set_role"] = "owner_role".into());
    let ask = |sql: &str| {
        let mut psql = house.psql("application_name=mine options='-c work_mem=5MB -c role=none'");
        told(psql.env("PGTZ", "Asia/Tokyo").args(["-c", sql]).output().unwrap())
    };
    assert_eq!(ask("show work_mem").as_deref(), Ok("5MB"));
    assert_eq!(ask("show timezone").as_deref(), Ok("Asia/Tokyo"));
    assert_eq!(ask("select session_user, current_user").as_deref(), Ok("reader|owner_role"));
    let name = ask("show application_name").unwrap();
    let opened = house.seen("opened");
    let last = opened.last().unwrap();
    assert_eq!(name, format!("agent/{}", last["session"].as_str().unwrap()));
    assert_eq!(
        (&last["application"], &last["target"], &last["identity"]),
        (&json!("mine"), &json!("shop"), &json!("agent"))
    );
}

#[test]
fn a_target_that_is_away_or_wrong_is_told_as_such() {
    let dead = free_port();
    for (key, value, part) in [
        ("address", json!(format!("127.0.0.1:{dead}")), "target \"shop\" cannot be reached"),
        ("address", json!("no-such-host.invalid:5432"), "target \"shop\" cannot be reached"),
        ("databases", json!(["shop", "nothere"]), "database \"nothere\" does not exist"),
    ] {
        let house = house(|settings| settings["targets"][0][key] = value.clone());
        let database = if key == "databases" { "dbname=nothere" } else { "" };
        let text = house.ask(database, "select 1").unwrap_err();
        assert!(text.contains(part), "{text}");
        assert!(house.seen("alert").iter().any(|alert| alert["what"] == "session_refused"));
    }
}

/// What a client is told when the target plays this part of a login and then falls silent.
fn false_target(lines: &'static [&'static [u8]], mode: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            let mut scrap = [0; 4096];
            for line in lines {
                if stream.read(&mut scrap).is_err() || stream.write_all(line).is_err() {
                    break;
                }
            }
            kept.push(stream);
        }
    });
    let house = house(|settings| {
        settings["targets"][0]["address"] = address.into();
        settings["targets"][0]["connect_seconds"] = 1.into();
        settings["targets"][0]["tls"]["mode"] = mode.into();
        settings["targets"][0]["accept_superuser"] = true.into();
    });
    house.ask("", "select 1").unwrap_err()
}

#[test]
fn a_false_target_gets_nothing_and_ends_in_time() {
    let cases: &[(&'static [&'static [u8]], &str, &str)] = &[
        (&[], "disable", "did not answer within 1 seconds"),
        (&[b"N"], "require", "does not offer TLS"),
        (&[b"SR\0\0\0\x08\0\0\0\0"], "require", "unencrypted data came after its consent to TLS"),
        (&[b"E"], "require", "answered the request for TLS with something else"),
        (&[b"R\0\0\0\x08\0\0\0\x03"], "disable", "in clear outside TLS"),
        (&[b"R\0\0\0\x08\0\0\0\x07"], "disable", "Kerberos, GSSAPI or SSPI"),
        (&[b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0", b"R\0\0\0\x08\0\0\0\0"], "disable", "missing or out of order"),
        (
            &[b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0", b"R\0\0\0\x19\0\0\0\x0br=x,s=AAAA,i=4096"],
            "disable",
            "does not continue ours",
        ),
        (&[b"R\x7f\xff\xff\xff"], "disable", "announces"),
        (&[b"Z\0\0\0\x05I"], "disable", "out of place"),
        (&[b"R\0\0\0\x08\0\0\0\0K\0\0\0\x05x"], "disable", "cancel key has a wrong length"),
    ];
    for (lines, mode, part) in cases {
        let text = false_target(lines, mode);
        assert!(text.contains(part), "{part}: {text}");
    }
}
