//! Logins with real clients and raw ones, through a gateway, to a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::*;

#[test]
fn a_static_token_logs_in_plain_over_tls_and_bound_to_it() {
    let house = house(|_| {});
    for options in ["sslmode=disable", "sslmode=require", "sslmode=require channel_binding=require", "gssencmode=prefer"] {
        assert_eq!(house.ask(options, "select 40 + 2"), Ok("42".to_owned()), "{options}");
    }
}
