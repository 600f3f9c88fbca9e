"""What is wrong with a split? Duplicates, leaks and twins, as findings of named checks."""
