"""Metrics of ranking: pure functions, and the state that sums them up over batches and processes."""
