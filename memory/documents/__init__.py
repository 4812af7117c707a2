"""Documents: files that an agent knows, from their way in to the place that a reply cites."""
