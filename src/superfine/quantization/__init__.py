"""From a network's weights and photographs to the int8 file that lies beside the weights."""
