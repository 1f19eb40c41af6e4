"""Training objectives: losses, regularizers and discriminators, and the module that combines them."""
