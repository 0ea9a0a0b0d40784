//! Sessions under way: both directions, cancelling, ending, draining, and what happens when a side goes away.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::*;
use serde_json::{Value, json};

/// How many statements that contain `mark` the target runs now.
fn running(mark: &str) -> usize {
    // The mark is put together here, so that this question does not find itself.
    let sql = format!(
        "select count(*) from pg_stat_activity where state = 'active' and query like '%' || '{}' || '{}' || '%'",
        &mark[..3],
        &mark[3..]
    );
    cluster().admin("postgres", &sql).unwrap().trim().parse().unwrap()
}

fn query(stream: &mut std::net::TcpStream, sql: &str) {
    send(stream, b'Q', &[sql.as_bytes(), b"\0"].concat());
}

/// A metric's value now.
fn metric(house: &House, name: &str) -> u64 {
    let text = house.gateway.metrics();
    let line = text.lines().find(|line| line.starts_with(&format!("penstock_{name} "))).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_large_result_arrives_whole_plain_and_encrypted() {
    let house = house(|_| {});
    let sql = "select i, repeat(md5(i::text), 30) from generate_series(1, 20000) i";
    let direct = cluster().admin("shop", sql).unwrap();
    for options in ["sslmode=disable", "sslmode=require"] {
        let through = house.ask(options, sql).unwrap();
        assert!(through == direct.trim(), "{} bytes became {}", direct.len(), through.len());
    }
    assert!(metric(&house, "target_received_bytes_total") > 2 * direct.len() as u64);
    let closed = house.seen("closed");
    assert_eq!(
        (&closed[0]["rows"], &closed[0]["statements"], &closed[0]["reason"]),
        (&json!(20000), &json!(1), &json!("client closed"))
    );
}

#[test]
fn copy_runs_both_ways() {
    let house = house(|_| {});
    cluster()
        .admin(
            "shop",
            "drop table if exists copied; create table copied (n int, t text); grant all on copied to public",
        )
        .unwrap();
    let mut psql = house
        .psql("")
        .args(["-c", "copy copied from stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let rows: String = (0..50_000).map(|n| format!("{n}\tvalue {n}\n")).collect();
    psql.stdin.take().unwrap().write_all(rows.as_bytes()).unwrap();
    assert!(psql.wait().unwrap().success());
    assert_eq!(house.ask("", "select count(*), max(t) from copied").as_deref(), Ok("50000|value 9999"));
    assert_eq!(house.ask("", "copy copied to stdout").map(|text| text.len() + 1), Ok(rows.len()));
}

#[test]
fn a_client_may_send_much_before_it_reads() {
    let house = house(|_| {});
    let (mut stream, _) = clear_login(&house, 0);
    let count = 20_000;
    let mut sender = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        for _ in 0..count {
            query(&mut sender, "select 'some text to make the request longer than its answer'");
        }
    });
    let mut ready = 0;
    while ready < count {
        ready += usize::from(message(&mut stream).0 == b'Z');
    }
    writer.join().unwrap();
}

#[test]
fn a_client_that_does_not_read_slows_the_target_and_fills_no_memory() {
    let house = house(|_| {});
    let (mut stream, _) = clear_login(&house, 0);
    query(&mut stream, "select repeat('x', 1000) from generate_series(1, 200000)");
    let mut last = 0;
    house.until("standstill", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = metric(&house, "target_received_bytes_total");
        std::mem::replace(&mut last, now) == now && now > 0
    });
    let (taken, sent) = (metric(&house, "target_received_bytes_total"), metric(&house, "client_sent_bytes_total"));
    assert!(taken < 40_000_000 && taken - sent < 3_000_000, "{taken} taken, {sent} sent");
    let all = messages_to(&mut stream, b'Z');
    assert_eq!(all.iter().filter(|(tag, _)| *tag == b'D').count(), 200_000);
}

#[test]
fn a_cancel_request_reaches_its_own_session_alone() {
    let house = house(|_| {});
    for minor in [0, 2] {
        let (mut stream, key) = clear_login(&house, minor);
        let (mut other, _) = clear_login(&house, minor);
        query(&mut stream, "select pg_sleep(20) /* cancel me */");
        query(&mut other, "select pg_sleep(3) /* not me */");
        house.until("the statement", || running("cancel me") == 1);
        let cancel = |key: &[u8]| {
            let mut knock = house.connect();
            knock.write_all(&packet(&[&80_877_102_u32.to_be_bytes(), key].concat())).unwrap();
            assert_eq!(knock.read(&mut [0]).unwrap(), 0, "no word in answer");
        };
        let mut wrong = key.clone();
        *wrong.last_mut().unwrap() ^= 1;
        cancel(&wrong);
        cancel(&key[..key.len() - 1].iter().copied().chain([0, 0]).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(running("cancel me"), 1);
        cancel(&key);
        let all = messages_to(&mut stream, b'Z');
        let refused = all.iter().find(|(tag, _)| *tag == b'E').map(|(_, body)| error(body).1);
        assert_eq!(refused.as_deref(), Some("57014"), "3.{minor}");
        query(&mut stream, "select 1");
        assert!(messages_to(&mut stream, b'Z').iter().any(|(tag, _)| *tag == b'D'), "the session goes on");
        assert!(messages_to(&mut other, b'Z').iter().any(|(tag, _)| *tag == b'D'), "the other was not disturbed");
    }
}

#[test]
fn psql_cancels_with_ctrl_c_over_tls() {
    let house = house(|settings| settings["targets"][0]["tls"]["mode"] = "require".into());
    let mut psql = house.psql("sslmode=require");
    let child = psql
        .args(["-c", "select pg_sleep(20) /* interrupted */"])
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    house.until("the statement", || running("interrupted") == 1);
    let began = Instant::now();
    assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let text = told(child.wait_with_output().unwrap()).unwrap_err();
    assert!(
        text.contains("canceling statement due to user request") && began.elapsed() < Duration::from_secs(10),
        "{text}"
    );
}

#[test]
fn a_client_that_vanishes_takes_its_statement_with_it() {
    let house = house(|_| {});
    let (mut stream, _) = clear_login(&house, 0);
    query(&mut stream, "select pg_sleep(30) /* abandoned */");
    house.until("the statement", || running("abandoned") == 1);
    drop(stream);
    house.until("the end of the statement", || running("abandoned") == 0);
    house.until("the end of the session", || !house.seen("closed").is_empty());
    assert!(house.seen("closed")[0]["reason"].as_str().unwrap().contains("client"));
}

#[test]
fn a_target_that_goes_away_is_told_to_the_client() {
    let house = house(|_| {});
    let (mut stream, _) = clear_login(&house, 0);
    query(&mut stream, "select pg_backend_pid()");
    let all = messages_to(&mut stream, b'Z');
    let row = &all.iter().find(|(tag, _)| *tag == b'D').unwrap().1;
    let pid = String::from_utf8(row[6..].to_vec()).unwrap();
    cluster().admin("postgres", &format!("select pg_terminate_backend({pid})")).unwrap();
    let (tag, body) = message(&mut stream);
    assert_eq!((tag, error(&body).1.as_str()), (b'E', "57P01"));
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    house.until("the end", || house.gateway.sessions().as_array().unwrap().is_empty());
}

#[test]
fn a_killed_session_learns_why() {
    let house = house(|_| {});
    let (mut stream, _) = clear_login(&house, 0);
    let sessions = house.gateway.sessions();
    let id = sessions[0]["session"].as_str().unwrap();
    assert_eq!((&sessions[0]["identity"], &sessions[0]["database"]), (&json!("pipeline"), &json!("shop")));
    assert!(house.gateway.kill(id, "no longer needed"));
    let (code, text) = fatal(&mut stream);
    assert!(code == "57P01" && text.contains("no longer needed"), "{code} {text}");
    house.until("the end", || !house.gateway.kill(id, "again"));
}

#[test]
fn a_session_lasts_as_long_as_its_proof_or_the_manifest_say() {
    let house = house(|settings| settings["session"]["max_seconds"] = 1.into());
    let (mut stream, _) = clear_login(&house, 0);
    assert_eq!(fatal(&mut stream).0, "57P01");
    let mut brief = house.connect();
    brief.write_all(&startup(0, &[("user", "brief"), ("database", "shop")])).unwrap();
    message(&mut brief);
    send(&mut brief, b'p', &[CLEAR.as_bytes(), b"\0"].concat());
    let mut all = Vec::new();
    brief.read_to_end(&mut all).unwrap();
    assert!(String::from_utf8_lossy(&all).contains("lasted as long"));
}

#[test]
fn draining_lets_the_busy_finish_and_takes_nobody_in() {
    let house = house(|_| {});
    let (mut idle, _) = clear_login(&house, 0);
    let (mut busy, _) = clear_login(&house, 0);
    let (mut endless, _) = clear_login(&house, 0);
    query(&mut busy, "select pg_sleep(1), 'done' /* nearly done */");
    query(&mut endless, "select pg_sleep(60) /* never done */");
    house.until("both statements", || running("nearly done") + running("never done") == 2);
    house.gateway.drain(Duration::from_secs(2));
    assert_eq!(fatal(&mut idle).0, "57P01");
    house.until("the listener's end", || std::net::TcpStream::connect(("127.0.0.1", house.port)).is_err());
    assert!(messages_to(&mut busy, b'Z').iter().any(|(tag, _)| *tag == b'D'));
    assert_eq!(fatal(&mut busy).0, "57P01");
    assert_eq!(fatal(&mut endless).0, "57P01");
    house.until("the end of the statement", || running("never done") == 0);
}

#[test]
fn stopping_ends_sessions_in_the_trail() {
    let house = house(|_| {});
    let (mut stream, _) = clear_login(&house, 0);
    house.gateway.stop().unwrap();
    assert_eq!(fatal(&mut stream).0, "57P01");
    assert!(house.gateway.sessions().as_array().unwrap().is_empty());
    house.until("the event", || house.seen("closed").len() == 1);
}

#[test]
fn new_settings_reach_open_sessions_and_wrong_ones_change_nothing() {
    let kept = Mutex::new(Value::Null);
    let house = house(|settings| *kept.lock().unwrap() = settings.clone());
    let mut settings = kept.into_inner().unwrap();
    let (mut stream, _) = clear_login(&house, 0);
    let mut wrong = settings.clone();
    wrong["rules"][0]["allow"] = json!(["everything"]);
    assert!(house.gateway.load(wrong.to_string().as_bytes()).unwrap_err().message.contains("rules.0"));
    let mut moved = settings.clone();
    moved["listeners"]["postgres"]["bind"] = "127.0.0.1:1".into();
    assert!(house.gateway.load(moved.to_string().as_bytes()).unwrap_err().message.contains("cannot move"));
    query(&mut stream, "select 1");
    assert!(messages_to(&mut stream, b'Z').iter().any(|(tag, _)| *tag == b'D'));
    settings["rules"] = json!([{"name": "nothing writes", "allow": ["read"]}]);
    settings["generation"] = 2.into();
    house.gateway.load(settings.to_string().as_bytes()).unwrap();
    query(&mut stream, "create table never (x int)");
    let refused =
        messages_to(&mut stream, b'Z').into_iter().find(|(tag, _)| *tag == b'E').map(|(_, body)| error(&body).1);
    assert_eq!(refused.as_deref(), Some("42501"));
    assert!(house.gateway.metrics().contains("penstock_manifest_generation 2\n"));
    settings["targets"][0]["name"] = "renamed".into();
    house.gateway.load(settings.to_string().as_bytes()).unwrap();
    assert_eq!(fatal(&mut stream).0, "57P01");
}

#[test]
fn a_catalog_is_surveyed_shared_and_surveyed_again_after_a_change() {
    let house = house(|settings| {
        settings["classes"] =
            json!([{"name": "ssn", "columns": ["shop:*.*.ssn"], "detect": [], "mask": {"replace": "masked"}}]);
    });
    cluster().admin("shop", "drop table if exists people; drop table if exists later; create table people (name text, ssn text); insert into people values ('a', '078-05-1120'); grant all on people to public").unwrap();
    let (mut stream, _) = clear_login(&house, 0);
    assert_eq!(house.ask("", "select name, ssn from people").as_deref(), Ok("a|masked"));
    cluster()
        .admin(
            "shop",
            "create table later (ssn text); insert into later values ('219-09-9999'); grant all on later to public",
        )
        .unwrap();
    for _ in 0..2 {
        query(&mut stream, "select ssn from later");
        let all = messages_to(&mut stream, b'Z');
        let text: Vec<u8> = all.iter().flat_map(|(_, body)| body.clone()).collect();
        assert!(!String::from_utf8_lossy(&text).contains("219-09-9999"));
    }
}

#[test]
fn somebody_who_watches_sees_statements() {
    let house = house(|_| {});
    house.gateway.watch(true);
    house.ask("", "select 1").unwrap();
    house.until("both steps", || house.seen("statement").len() >= 2);
    let seen = house.seen("statement");
    assert_eq!(
        (&seen[0]["step"], &seen[0]["identity"], &seen[0]["verdict"]),
        (&json!("asked"), &json!("agent"), &json!("allow"))
    );
}

#[test]
fn a_held_statement_waits_for_its_decision() {
    let house = house(|settings| {
        settings["rules"].as_array_mut().unwrap().push(json!({"name": "inserts wait", "hold": {
            "when": "sql.kind == \"insert\"", "reviewers": ["owners"], "expires_seconds": 60, "in_transaction": null}}));
        settings["reviewers"] = json!([{"name": "owners", "members": ["group:dba"]}]);
    });
    let (mut stream, _) = clear_login(&house, 0);
    for (verdict, done) in [("approved", true), ("denied", false)] {
        let before = house.seen("hold").len();
        query(&mut stream, "insert into t values (0, 'held')");
        house.until("the question", || house.seen("hold").len() > before);
        let hold = house.seen("hold").pop().unwrap();
        assert_eq!(
            (&hold["identity"], &hold["rule"], &hold["target"]),
            (&json!("pipeline"), &json!("inserts wait"), &json!("shop"))
        );
        let (session, number) = (hold["session"].as_str().unwrap(), hold["hold"].as_u64().unwrap());
        assert!(house.gateway.register(session, number, "ap-1"));
        let decision = json!({"verdict": verdict, "by": "a reviewer", "reason": "because"});
        assert_eq!(house.gateway.decide(session, number, decision.to_string().as_bytes()), Ok(true));
        let all = messages_to(&mut stream, b'Z');
        assert_eq!(all.iter().any(|(tag, _)| *tag == b'C'), done, "{verdict}");
        assert_eq!(all.iter().any(|(tag, _)| *tag == b'E'), !done, "{verdict}");
    }
    assert_eq!(metric(&house, "holds_total"), 2);
}

#[test]
fn under_durability_disk_everything_still_arrives_in_order() {
    let house = house(|settings| settings["trail"]["durability"] = "disk".into());
    let sql = "select i from generate_series(1, 5000) i";
    assert_eq!(house.ask("", sql).unwrap(), cluster().admin("shop", sql).unwrap().trim());
    let (mut stream, _) = clear_login(&house, 0);
    for _ in 0..20 {
        query(&mut stream, "select 1");
        messages_to(&mut stream, b'Z');
    }
}
