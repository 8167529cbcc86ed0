"""Algorithm 1: the EM loop, its M-step and its E-step."""
