"""How the runs of an experiment are trained: one by one, by processes, or by a Ray cluster."""
