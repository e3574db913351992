"""The run directory: how it is written and how it is read."""
