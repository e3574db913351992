"""Folders of pictures: what they contain, and decoding them."""
