//! Placeholder head of `native`.
