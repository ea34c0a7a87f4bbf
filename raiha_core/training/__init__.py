"""Training: where its pictures come from, how they are changed, and the loop."""
