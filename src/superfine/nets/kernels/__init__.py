"""Hand-made and private operations: the forms in which a CPU trains the networks fastest."""
