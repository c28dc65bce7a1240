"""Weights of any origin → one of our networks, and back into one safetensors file. Needs PyTorch."""

from superfine.checkpoints.load import FORMAT, halo, load, save

__all__ = ["FORMAT", "halo", "load", "save"]
