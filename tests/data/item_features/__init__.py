"""Features of items as numbers and codes."""
