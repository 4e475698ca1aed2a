"""Evidence in, decision out: pure, without clock, randomness, files or network."""
