"""The training loop, its events, the optimisers, and the engines without PyTorch."""
