//! Counters, and their rendering as Prometheus text.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the relay counts. Only ever added to, except `connections`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections now, logins among them.
    pub connections: AtomicU64,
    /// Sessions begun.
    pub sessions: AtomicU64,
    /// Logins that proved nothing, or were refused.
    pub logins_failed: AtomicU64,
    /// Connections refused because a limit was reached.
    pub connections_refused: AtomicU64,
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
    /// Events that Python was too far behind to take.
    pub events_lost: AtomicU64,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

impl Counters {
    /// All counters as Prometheus text, with the number of sessions `open` now and what the trail took.
    #[must_use]
    pub fn render(&self, open: usize, generation: u64, trail: &record::Counts) -> String {
        let mut text = String::with_capacity(2048);
        let mut line = |kind: &str, name: &str, help: &str, value: u64| {
            // Writing to a String cannot fail.
            let _ =
                write!(text, "# HELP penstock_{name} {help}\n# TYPE penstock_{name} {kind}\npenstock_{name} {value}\n");
        };
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        line("gauge", "sessions_open", "Sessions open now.", open as u64);
        line("gauge", "connections", "Connections now, logins among them.", of(&self.connections));
        line("gauge", "manifest_generation", "Generation of the manifest in force.", generation);
        for (name, help, counter) in [
            ("sessions_total", "Sessions begun.", &self.sessions),
            ("logins_failed_total", "Logins refused.", &self.logins_failed),
            ("connections_refused_total", "Connections refused by a limit.", &self.connections_refused),
            ("client_received_bytes_total", "Bytes read from clients.", &self.client_bytes),
            ("client_sent_bytes_total", "Bytes released to clients.", &self.released_bytes),
            ("target_received_bytes_total", "Bytes read from targets.", &self.target_bytes),
            ("target_sent_bytes_total", "Bytes forwarded to targets.", &self.forwarded_bytes),
            ("holds_total", "Requests put before reviewers.", &self.holds),
            ("target_failures_total", "Connections to targets that failed.", &self.targets_failed),
            ("events_lost_total", "Events the control side was too far behind to take.", &self.events_lost),
        ] {
            line("counter", name, help, of(counter));
        }
        line("counter", "trail_evidence_bytes_total", "Evidence written, as stored.", trail.evidence_bytes);
        line("counter", "trail_payload_bytes_total", "Payload written, as stored.", trail.payload_bytes);
        line("counter", "trail_records_total", "Records written.", trail.evidence_records + trail.payload_records);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_help_type_and_value_for_every_name() {
        let counters = Counters::default();
        add(&counters.sessions, 3);
        let text = counters.render(2, 7, &record::Counts::default());
        assert!(text.contains("# TYPE penstock_sessions_total counter\npenstock_sessions_total 3\n"));
        assert!(text.contains("penstock_sessions_open 2\n") && text.contains("penstock_manifest_generation 7\n"));
        assert_eq!(text.lines().filter(|line| line.starts_with("# HELP")).count() * 3, text.lines().count());
    }
}
