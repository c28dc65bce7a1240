"""Compare pictures: metrics, and the protocols that say how to apply them."""
