"""The training loop, its events, and the engines that take the updates."""
