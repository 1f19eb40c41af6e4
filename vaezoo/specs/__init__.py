"""Text to checked data: YAML with places, specs, the catalog of names, overrides, the spec hash. Imports no torch."""
