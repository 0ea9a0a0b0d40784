//! Counters, and their rendering as Prometheus text.

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use gate::Counts;

/// What the relay counts. Only ever added to, except `connections`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections now, logins among them.
    pub connections: AtomicU64,
    /// Sessions begun.
    pub sessions: AtomicU64,
    /// Proven identities that got no session.
    pub sessions_refused: AtomicU64,
    /// Logins that proved nothing, or were refused.
    pub logins_failed: AtomicU64,
    /// Bytes read from clients, after decryption.
    pub client_bytes: AtomicU64,
    /// Bytes read from targets, after decryption.
    pub target_bytes: AtomicU64,
    /// Bytes released to clients.
    pub released_bytes: AtomicU64,
    /// Bytes forwarded to targets.
    pub forwarded_bytes: AtomicU64,
    /// Holds put before reviewers.
    pub holds: AtomicU64,
    /// Connections to targets that failed.
    pub targets_failed: AtomicU64,
    /// Sessions ended or refused because the trail could not be written.
    pub trail_failures: AtomicU64,
    /// Events that Python was too far behind to take.
    pub events_lost: AtomicU64,
    /// How often each limit was met, in the order of [`Limit`].
    limits: [AtomicU64; Limit::NAMES.len()],
}

/// A limit that connections and sessions meet. Those on statements are counted with each session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// `limits.connections`
    Connections,
    /// `limits.connections_per_identity`
    ConnectionsPerIdentity,
    /// Logins that failed too often in a row.
    FailedLogins,
    /// `limits.login`
    Login,
    /// `limits.memory`
    Memory,
}

impl Limit {
    const NAMES: [&'static str; 5] = ["connections", "connections_per_identity", "failed_logins", "login", "memory"];
}

/// What metrics tell beside the counters: how things stand now.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing {
    /// Sessions open.
    pub open: usize,
    /// The manifest's generation.
    pub generation: u64,
    /// Connections there may be.
    pub connections_most: usize,
    /// Bytes of sessions' buffers.
    pub buffered: usize,
    /// Bytes there may be of them.
    pub buffered_most: usize,
    /// Bytes of held results.
    pub spooled: u64,
    /// Whether the trail could be written when it was last tried.
    pub writable: bool,
    /// What sessions did, ended ones included.
    pub counts: Counts,
    /// What the trail took.
    pub trail: record::Counts,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

/// Prometheus text, family by family.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, kind: &str, name: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "# HELP penstock_{name} {help}\n# TYPE penstock_{name} {kind}\n");
    }

    fn one(&mut self, kind: &str, name: &str, help: &str, value: impl Display) {
        self.family(kind, name, help);
        let _ = writeln!(self.0, "penstock_{name} {value}");
    }

    /// One value for each of a fixed set of labels.
    fn many<'a>(&mut self, name: &str, help: &str, label: &str, values: impl IntoIterator<Item = (&'a str, u64)>) {
        self.family("counter", name, help);
        for (word, value) in values {
            let _ = writeln!(self.0, "penstock_{name}{{{label}=\"{word}\"}} {value}");
        }
    }
}

impl Counters {
    /// A limit was met.
    pub(crate) fn met(&self, limit: Limit) {
        add(&self.limits[limit as usize], 1);
    }

    /// All counters as Prometheus text, with how things stand now.
    #[must_use]
    pub fn render(&self, standing: &Standing) -> String {
        let mut text = Text(String::with_capacity(8192));
        self.gauges(&mut text, standing);
        self.own(&mut text);
        self.of_sessions(&mut text, &standing.counts);
        let trail = &standing.trail;
        for (name, help, value) in [
            ("trail_evidence_bytes_total", "Evidence written, as stored.", trail.evidence_bytes),
            ("trail_payload_bytes_total", "Payload written, as stored.", trail.payload_bytes),
            ("trail_records_total", "Records written.", trail.evidence_records + trail.payload_records),
        ] {
            text.one("counter", name, help, value);
        }
        text.0
    }

    fn gauges(&self, text: &mut Text, standing: &Standing) {
        let connections = self.connections.load(Ordering::Relaxed);
        for (name, help, value) in [
            ("sessions_open", "Sessions open now.", standing.open as u64),
            ("connections", "Connections now, logins among them.", connections),
            ("connections_limit", "Connections there may be (limits.connections).", standing.connections_most as u64),
            ("buffered_bytes", "What sessions' buffers take, counted in coarse steps.", standing.buffered as u64),
            ("buffered_bytes_limit", "What they may take (limits.memory).", standing.buffered_most as u64),
            ("spool_bytes", "What held results take, in memory and on disk.", standing.spooled),
            ("trail_writable", "Whether the trail could be written when last tried.", u64::from(standing.writable)),
            ("manifest_generation", "Generation of the manifest in force.", standing.generation),
        ] {
            text.one("gauge", name, help, value);
        }
    }

    fn own(&self, text: &mut Text) {
        for (name, help, counter) in [
            ("sessions_total", "Sessions begun.", &self.sessions),
            ("sessions_refused_total", "Proven identities that got no session.", &self.sessions_refused),
            ("logins_failed_total", "Logins refused.", &self.logins_failed),
            ("client_received_bytes_total", "Bytes read from clients.", &self.client_bytes),
            ("client_sent_bytes_total", "Bytes released to clients.", &self.released_bytes),
            ("target_received_bytes_total", "Bytes read from targets.", &self.target_bytes),
            ("target_sent_bytes_total", "Bytes forwarded to targets.", &self.forwarded_bytes),
            ("holds_total", "Requests put before reviewers.", &self.holds),
            ("target_failures_total", "Connections to targets that failed.", &self.targets_failed),
            (
                "trail_failures_total",
                "Sessions ended or refused because the trail could not be written.",
                &self.trail_failures,
            ),
            ("events_lost_total", "Events the control side was too far behind to take.", &self.events_lost),
        ] {
            text.one("counter", name, help, counter.load(Ordering::Relaxed));
        }
    }

    fn of_sessions(&self, text: &mut Text, counts: &Counts) {
        let verdicts = Counts::VERDICTS.into_iter().zip(counts.verdicts);
        text.many("statements_total", "Statements by verdict.", "verdict", verdicts);
        text.one("counter", "rows_released_total", "Rows released to clients.", counts.rows);
        text.one("counter", "result_bytes_total", "Bytes of answers released, as recorded.", counts.bytes);
        text.one("counter", "cells_masked_total", "Cells masked.", counts.masked);
        let help = "Cells that would have been masked where the gateway only observes.";
        text.one("counter", "cells_would_mask_total", help, counts.would_mask);
        let own = Limit::NAMES.into_iter().zip(&self.limits).map(|(name, met)| (name, met.load(Ordering::Relaxed)));
        let theirs = [("message", counts.oversized), ("statements_per_second", counts.too_often)];
        let help = "Times a limit was met; message counts statements that are too long as well.";
        text.many("limit_hits_total", help, "limit", own.chain(theirs));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_help_and_type_once_and_values_behind_them() {
        let counters = Counters::default();
        add(&counters.sessions, 3);
        counters.met(Limit::Memory);
        let counts = Counts { verdicts: [5, 4, 3, 2, 1], too_often: 9, ..Counts::default() };
        let text = counters.render(&Standing { open: 2, generation: 7, counts, ..Standing::default() });
        for line in [
            "# TYPE penstock_sessions_total counter\npenstock_sessions_total 3\n",
            "penstock_sessions_open 2\n",
            "penstock_manifest_generation 7\n",
            "penstock_trail_writable 0\n",
            "penstock_statements_total{verdict=\"hold\"} 3\n",
            "penstock_limit_hits_total{limit=\"memory\"} 1\n",
            "penstock_limit_hits_total{limit=\"statements_per_second\"} 9\n",
        ] {
            assert!(text.contains(line), "{line}");
        }
        let mut known = std::collections::HashSet::new();
        let mut lines = text.lines().peekable();
        while let Some(help) = lines.next() {
            let (name, told) = help.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')).unwrap();
            assert!(known.insert(name.to_owned()) && !told.is_empty(), "{name}");
            let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            let mut values = 0;
            while let Some(value) = lines.next_if(|line| !line.starts_with('#')) {
                assert!(value.starts_with(&format!("{name} ")) || value.starts_with(&format!("{name}{{")), "{value}");
                value.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
                values += 1;
            }
            assert!(values > 0, "{name}");
        }
    }
}
