"""Tables in, tensors out: sources, preparation, views, loaders. No Lightning, no networks."""
