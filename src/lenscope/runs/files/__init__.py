"""The files of a run directory: what each holds, as bytes and as plain values."""
