"""How weights begin: as a resampler, or grown or widened from the weights of another network."""
