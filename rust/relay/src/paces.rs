//! What each identity runs a second, found by its name when a session begins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use gate::Pace;

use crate::locked;

/// One pace for each identity that had a session. It outlives its sessions: who connects anew is not rested by that.
#[derive(Default)]
pub(crate) struct Paces(Mutex<HashMap<String, Arc<Pace>>>);

impl Paces {
    /// The pace that all sessions of `identity` share.
    pub fn of(&self, identity: &str) -> Arc<Pace> {
        let mut paces = locked(&self.0);
        if let Some(pace) = paces.get(identity) {
            return Arc::clone(pace);
        }
        Arc::clone(paces.entry(identity.to_owned()).or_default())
    }

    /// Forgets who has no session and has rested, so that names the manifest no longer has do not stay for ever.
    pub fn tidy(&self) {
        locked(&self.0).retain(|_, pace| Arc::strong_count(pace) > 1 || !pace.is_rested());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_has_one_pace_for_as_long_as_it_is_used() {
        let paces = Paces::default();
        let (first, second, other) = (paces.of("a"), paces.of("a"), paces.of("b"));
        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &other));
        drop(other);
        paces.tidy();
        assert_eq!(locked(&paces.0).len(), 1);
        assert!(Arc::ptr_eq(&first, &paces.of("a")));
    }
}
