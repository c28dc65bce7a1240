"""The weights in the package, and weights files anywhere: found, read about and verified without PyTorch."""

from superfine.weights.catalogue import DataSet, Entry, Figure, catalogue
from superfine.weights.find import Model, find, graph_path, verify

__all__ = ["DataSet", "Entry", "Figure", "Model", "catalogue", "find", "graph_path", "verify"]
