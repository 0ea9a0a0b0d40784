//! What a session did and what it keeps, for limits and metrics.

use bytes::BytesMut;
use record::evidence::Verdict;

use crate::session::Session;

/// What is counted of a session: each only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Statements by their verdict, in the order of [`Counts::VERDICTS`].
    pub verdicts: [u64; 5],
    /// Statements beyond what the identity may run a second.
    pub too_often: u64,
    /// Messages and texts that were refused for their size.
    pub oversized: u64,
    /// Rows released.
    pub rows: u64,
    /// Bytes released, as framed for the client.
    pub bytes: u64,
    /// Cells masked.
    pub masked: u64,
    /// Cells that would have been masked, were the gateway not only observing.
    pub would_mask: u64,
}

impl Counts {
    /// The trail's words for verdicts.
    pub const VERDICTS: [&'static str; 5] = ["allow", "deny", "hold", "would_deny", "would_hold"];
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        let Self { verdicts, too_often, oversized, rows, bytes, masked, would_mask } = other;
        for (sum, more) in self.verdicts.iter_mut().zip(verdicts) {
            *sum += more;
        }
        self.too_often += too_often;
        self.oversized += oversized;
        self.rows += rows;
        self.bytes += bytes;
        self.masked += masked;
        self.would_mask += would_mask;
    }
}

/// The place of a verdict in [`Counts::VERDICTS`].
pub(crate) const fn place(verdict: Verdict) -> usize {
    match verdict {
        Verdict::Allow => 0,
        Verdict::Deny => 1,
        Verdict::Hold => 2,
        Verdict::WouldDeny => 3,
        Verdict::WouldHold => 4,
    }
}

impl Session {
    /// What the session did so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let totals = self.release.totals;
        Counts {
            verdicts: self.verdicts,
            too_often: self.too_often,
            oversized: self.dialogue.oversized(),
            rows: totals.rows,
            bytes: totals.bytes,
            masked: totals.masked,
            would_mask: totals.would_mask,
        }
    }

    /// Bytes the session keeps inside: what waits for a side, for the disk or for a reviewer, and what the client's
    /// prepared statements take. What lies in a spool's file is not among them.
    #[must_use]
    pub fn buffered(&self) -> usize {
        let waiting = self.backlogs().map(BytesMut::capacity).iter().sum::<usize>();
        let dam = self.dam.as_ref().map_or(0, crate::dam::Dam::in_memory);
        waiting + self.staged.bytes.capacity() + self.release.waiting() + dam + self.dialogue.buffered()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_called_as_in_the_trail() {
        let all = [Verdict::Allow, Verdict::Deny, Verdict::Hold, Verdict::WouldDeny, Verdict::WouldHold];
        for verdict in all {
            assert_eq!(serde_json::to_value(verdict).unwrap(), Counts::VERDICTS[place(verdict)]);
        }
    }
}
