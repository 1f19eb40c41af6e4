"""Reading and writing: files written whole or not at all, images, sheets of images."""
