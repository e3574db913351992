"""Published data sets: what is known about them, and finding, downloading and verifying their files."""
