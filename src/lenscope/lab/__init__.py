"""Experiments: many runs, one question, an answer with error bars."""
