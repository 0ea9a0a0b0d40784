"""Sessions beyond their connection: the index that outlives them."""
