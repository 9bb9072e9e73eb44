"""Experiments of the founding papers run again, one a file."""
