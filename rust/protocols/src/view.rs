//! What one session may see: the manifest's classes as its rules reveal them.

use std::sync::Arc;

use mask::{Classes, Detectors, Reveals, Unclassified};
use statement::Parser;

/// What one session may see of its target. Shared by all sessions that see the same.
#[derive(Debug)]
pub struct View {
    /// Grows with every change of the rules.
    pub generation: u64,
    /// The target's name in the manifest.
    pub target: Arc<str>,
    /// All classes of the manifest.
    pub classes: Arc<Classes>,
    /// Those the session sees unmasked.
    pub reveals: Reveals,
    /// What becomes of columns in no class.
    pub unclassified: Arc<Unclassified>,
    /// What looks at texts and JSON of unclassified columns, errors and notices; `None` if no class has a detector.
    pub detectors: Option<Arc<Detectors>>,
    /// The gateway only observes: nothing is masked, what would be is counted.
    pub observe: bool,
    /// Understands texts; shared, because it remembers them.
    pub parser: Arc<Parser>,
    /// The largest message that is looked at whole, in bytes.
    pub message_bytes: usize,
    /// The longest statement, in bytes.
    pub statement_bytes: usize,
}
