"""Measuring: metrics, the protocols that say how to apply them, and the benchmark that applies them to data sets."""
