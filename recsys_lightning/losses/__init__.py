"""Losses: pure functions, and thin modules to name them by."""
