"""Models, learned and not, one a file."""
