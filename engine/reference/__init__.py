"""A GGUF model in float32 PyTorch: what compression solves on and what studies of attention take apart."""
