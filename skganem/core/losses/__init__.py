"""Objectives as pure functions of tensors: the paper's, their variants, and those of self-supervised learning."""
