//! Placeholder head of `wire`.
