"""Pretrained networks that judge reconstructions."""
