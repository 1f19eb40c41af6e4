"""Networks and folders of diffusers, read and written without importing it."""
