"""The experiments: each a class of settings that says which runs it needs, and what its tables show."""
