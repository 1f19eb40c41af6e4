"""Run a half of a network strip by strip, exactly: a tensor that computes its rows when they are needed."""
