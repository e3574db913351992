"""Our networks as PyTorch modules, and the summary of any PyTorch module."""
