"""Vector spaces: the vectors of each model, how they are made and filled, and how another one takes their place."""
