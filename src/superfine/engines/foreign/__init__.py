"""Other people's models: whatever spandrel knows, and ONNX graphs, run as engines like our own networks."""
