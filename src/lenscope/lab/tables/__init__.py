"""What is kept of runs: rows of cells, read from CSV and written to it, and their statistics."""
