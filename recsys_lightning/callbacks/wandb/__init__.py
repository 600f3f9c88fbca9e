"""What runs tell Weights & Biases."""
