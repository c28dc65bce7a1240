"""Weights of any origin → one of our networks, and back into one safetensors file. Needs PyTorch."""

from superfine.checkpoints.load import halo, load, save

__all__ = ["halo", "load", "save"]
