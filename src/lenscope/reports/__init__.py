"""The one-file report: what a run learned, as a page that needs nothing else."""
