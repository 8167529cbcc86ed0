"""Nearest neighbors, affinities between them, and partitions of the graph into K parts."""
