"""The networks, and a summary of any network."""
