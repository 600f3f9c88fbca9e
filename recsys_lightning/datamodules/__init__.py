"""LightningDataModules: source, recipe, views, loaders."""
