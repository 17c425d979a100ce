"""Contract 3: the encoders and the saved bundle."""
