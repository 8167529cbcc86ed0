"""Samples as the caller gave them, handed out in scaled batches."""
