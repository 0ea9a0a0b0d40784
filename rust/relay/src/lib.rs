//! Placeholder head of `relay`.
