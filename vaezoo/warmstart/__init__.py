"""Initial weights: those of a resampler, or those of a smaller network, made wider."""
