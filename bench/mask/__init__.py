"""What masking and scanning cost on large results."""
