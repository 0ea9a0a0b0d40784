//! What a request needs and a rule gives.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of rights.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rights(u16);

/// Every right that a preset can give, with the name it is given by.
const NAMED: [(Rights, &str); 6] = [
    (Rights::READ, "read"),
    (Rights::WRITE, "write"),
    (Rights::DDL, "ddl"),
    (Rights::COPY_IN, "copy_in"),
    (Rights::COPY_OUT, "copy_out"),
    (Rights::CALL, "call"),
];

impl Rights {
    /// No right.
    pub const NONE: Self = Self(0);
    /// To read data and to control transactions.
    pub const READ: Self = Self(1);
    /// To change data.
    pub const WRITE: Self = Self(1 << 1);
    /// To change what data there is.
    pub const DDL: Self = Self(1 << 2);
    /// To load data in bulk.
    pub const COPY_IN: Self = Self(1 << 3);
    /// To take data out in bulk.
    pub const COPY_OUT: Self = Self(1 << 4);
    /// To run procedures.
    pub const CALL: Self = Self(1 << 5);
    /// What no rule can give: a request that needs it is refused.
    pub const NEVER: Self = Self(1 << 15);

    /// What a preset of the manifest gives: `write` comes with `read`, the others stand alone.
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        let (right, _) = NAMED.iter().find(|(_, known)| *known == name)?;
        Some(if *right == Self::WRITE { Self::WRITE | Self::READ } else { *right })
    }

    /// The presets' names.
    pub fn presets() -> impl Iterator<Item = &'static str> + Clone {
        NAMED.iter().map(|(_, name)| *name)
    }

    /// Whether all of `needed` are here.
    #[must_use]
    pub const fn covers(self, needed: Self) -> bool {
        needed.0 & !self.0 == 0
    }

    /// Those that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of those that a preset can give.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        NAMED.iter().filter(|(right, _)| self.covers(*right)).map(|(_, name)| *name).collect()
    }
}

impl BitOr for Rights {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Rights {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let never = if self.covers(Self::NEVER) { "never " } else { "" };
        write!(f, "Rights({never}{})", self.names().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_comes_with_read_and_the_others_stand_alone() {
        assert_eq!(Rights::preset("write"), Some(Rights::READ | Rights::WRITE));
        for (right, name) in NAMED.into_iter().filter(|(right, _)| *right != Rights::WRITE) {
            assert_eq!(Rights::preset(name), Some(right));
        }
        assert_eq!(Rights::preset("never"), None);
        let all = Rights::presets().filter_map(Rights::preset).fold(Rights::NONE, BitOr::bitor);
        assert!(!all.covers(Rights::NEVER));
    }
}
