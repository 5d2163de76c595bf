"""Searches over flags: what is tried, in which order, by which processes, and which is the best."""
