"""C++ that is compiled on the machine it runs on, where that machine has a compiler."""

from superfine.native import winograd

__all__ = ["winograd"]
