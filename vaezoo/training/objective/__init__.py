"""What training lowers: losses, regularizers and the game with a discriminator."""
