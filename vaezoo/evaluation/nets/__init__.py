"""Pretrained networks that evaluate reconstructions."""
