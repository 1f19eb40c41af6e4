"""Training: recipes, losses, the training loop and its runs."""
