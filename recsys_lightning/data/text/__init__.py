"""What is written about items, as frozen vectors: embedders, their cache, ready vectors, and controls."""
