"""Measurements: us, direct and peers in one run, interleaved, on one machine."""
