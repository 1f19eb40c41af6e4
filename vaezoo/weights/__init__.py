"""Weights: records of what exists, files on disk and on a Hub, layouts of other libraries, published folders."""
