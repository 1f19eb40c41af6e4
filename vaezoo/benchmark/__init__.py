"""Time and memory of models, each measured in a process of its own."""
