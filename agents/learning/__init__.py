"""What agents learn after they have answered: of ended turns, and of conversations after some messages or a pause."""
