"""Whom agents talk with, and where: acquaintances made, people merged, rooms found."""
