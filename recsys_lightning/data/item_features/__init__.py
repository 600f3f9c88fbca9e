"""Facts of items as numbers and categories, fitted on the items of train."""
