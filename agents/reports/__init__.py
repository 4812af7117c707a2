"""Reports of turns and memories: as plain JSON for a program, as tables for a person."""
