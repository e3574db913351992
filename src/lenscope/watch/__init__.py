"""Watching a run as it trains: in a terminal, in plain lines, in a notebook."""
