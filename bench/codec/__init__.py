"""What framing and recording cost on large results, with nothing to mask."""
