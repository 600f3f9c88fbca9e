"""LightningModules: one for each job, none for a single network."""
