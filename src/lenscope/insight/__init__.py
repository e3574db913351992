"""What a run shows, as plain dataclasses of arrays."""
