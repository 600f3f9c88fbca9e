"""What happens around training and evaluation: checkpoints, checks, what a run leaves behind."""
