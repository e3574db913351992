"""Our engines and other ways to train the same network, timed side by side on this machine."""
