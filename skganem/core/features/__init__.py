"""Views of samples, and encoders that learn features from them without labels."""
