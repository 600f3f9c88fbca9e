"""Tests of the vectors of what is written about items."""
