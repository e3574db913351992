"""Progress of training: in a terminal, in plain lines, in a notebook."""
