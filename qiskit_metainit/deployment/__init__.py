"""Runs on backends: what they cost, within a budget, and nothing that was paid for is lost."""

from qiskit_metainit.deployment.layout import LayoutSafeSampler, layout_safe, shot_sampler

__all__ = ["LayoutSafeSampler", "layout_safe", "shot_sampler"]
