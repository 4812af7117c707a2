"""What agents learn after they have answered: of ended turns, and of conversations when they are over."""
