"""Other programs' doors: the Hugging Face Hub, spandrel and the hosts built on it, ComfyUI."""
