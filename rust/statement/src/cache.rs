//! Texts already understood, within a bound of bytes.
//!
//! Two generations: what is found in the old one moves to the new; when the new one has taken half of the bound, the
//! old one goes. That keeps what is in use, costs no list to maintain, and a hit allocates nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;

use crate::Unreadable;
use crate::statement::Text;

/// What a text turned out to be.
pub(crate) type Known = Result<Arc<Text>, Arc<Unreadable>>;

const SHARDS: usize = 8;

#[derive(Default)]
struct Generations {
    young: HashMap<Arc<str>, Known, RandomState>,
    old: HashMap<Arc<str>, Known, RandomState>,
    young_bytes: usize,
    old_bytes: usize,
}

/// A cache of texts, bounded in bytes.
pub(crate) struct Cache {
    shards: [Mutex<Generations>; SHARDS],
    hasher: RandomState,
    /// How many bytes one generation of one shard may hold.
    share: usize,
}

fn weight(sql: &str, known: &Known) -> usize {
    let product = match known {
        Ok(text) => text.weight,
        Err(unreadable) => {
            size_of::<Unreadable>() + unreadable.message.len() + unreadable.verbatim.as_ref().map_or(0, String::len)
        }
    };
    // The key, its slot in the table and the counters beside it.
    sql.len() + product + 96
}

impl Cache {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { shards: Default::default(), hasher: RandomState::new(), share: bytes / SHARDS / 2 }
    }

    fn shard(&self, sql: &str) -> &Mutex<Generations> {
        let hash = self.hasher.hash_one(sql) as usize;
        &self.shards[hash % SHARDS]
    }

    /// What is known of `sql`.
    pub(crate) fn get(&self, sql: &str) -> Option<Known> {
        let mut shard = self.shard(sql).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shard.young.get(sql) {
            return Some(known.clone());
        }
        let (key, known) = shard.old.remove_entry(sql)?;
        let bytes = weight(sql, &known);
        shard.old_bytes = shard.old_bytes.saturating_sub(bytes);
        self.put(&mut shard, key, known.clone(), bytes);
        Some(known)
    }

    /// Remembers what `sql` turned out to be, unless it alone would fill a large part of the cache.
    pub(crate) fn insert(&self, sql: Arc<str>, known: Known) {
        let bytes = weight(&sql, &known);
        if bytes > self.share / 4 {
            return;
        }
        let mut shard = self.shard(&sql).lock().unwrap_or_else(PoisonError::into_inner);
        if !shard.young.contains_key(&sql) {
            self.put(&mut shard, sql, known, bytes);
        }
    }

    fn put(&self, shard: &mut Generations, sql: Arc<str>, known: Known, bytes: usize) {
        if shard.young_bytes + bytes > self.share {
            shard.old = std::mem::take(&mut shard.young);
            shard.old_bytes = std::mem::take(&mut shard.young_bytes);
        }
        shard.young.insert(sql, known);
        shard.young_bytes += bytes;
    }

    /// Bytes held now.
    pub(crate) fn bytes(&self) -> usize {
        let held = |shard: &Mutex<Generations>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.young_bytes + shard.old_bytes
        };
        self.shards.iter().map(held).sum()
    }
}
