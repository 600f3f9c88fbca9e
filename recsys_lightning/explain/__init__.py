"""Recommendations for one user at a time, and why each: explanations that are parts of the score, or measured."""
