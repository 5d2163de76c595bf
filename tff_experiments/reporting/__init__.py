"""Runs -> tables, plots, a page. Reads files only, and imports no TensorFlow: it starts at once."""
