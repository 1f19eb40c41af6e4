"""How good a model is: metrics, and one protocol by which they are measured."""
