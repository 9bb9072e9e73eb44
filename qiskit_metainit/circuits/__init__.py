"""Ansatz recipes for VQE, one kind a file, as plain circuits."""
