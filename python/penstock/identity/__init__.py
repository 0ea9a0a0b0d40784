"""Who asks: tokens of issuers, static and exchanged tokens, and what an open session is still allowed to be."""
