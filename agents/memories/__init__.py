"""What people ask of an agent's memory from outside of a turn: what it recalls, how well, and with another embedder."""
