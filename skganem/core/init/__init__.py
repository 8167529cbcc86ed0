"""The initial responsibilities w: line 1 of Algorithm 1, and better starts."""
