"""Files and images: atomic writes, decoding, conversion to tensors, contact sheets."""
