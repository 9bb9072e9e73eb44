"""Primitives that fit circuits to a backend: one template a structure, its layout, and a check of every gate."""
