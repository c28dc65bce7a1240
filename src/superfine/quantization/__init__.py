"""Make the int8 form of a network from its weights and photographs."""
