"""Lenscope trains a LeNet in seconds on an ordinary CPU and shows what it learned."""
