"""Networks as PyTorch modules, built from checked specs; no files, no network."""
