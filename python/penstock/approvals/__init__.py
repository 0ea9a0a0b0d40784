"""Held requests and the people who decide them."""
