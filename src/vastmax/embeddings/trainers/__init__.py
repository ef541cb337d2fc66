"""What computes: the trainer over the compiled core, the one over PyTorch."""
