"""Our networks as PyTorch modules, and what any PyTorch network is made of."""
