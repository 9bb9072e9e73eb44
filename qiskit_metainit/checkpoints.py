"""A training's checkpoint: one file, written whole or not at all, that knows which training it is of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

SAVE_SECONDS = 30.0
"""Most work that a crash may cost: how often a training is to be saved at least."""


def save(path: Path, plan: str, content: Mapping[str, Any]) -> None:
    """Write a checkpoint.

    Args:
        path: of the file; its folder is made if need be.
        plan: JSON of a mapping: everything that makes this training another than others.
        content: tensors, numbers, strings, and lists and dicts of them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")  # so that a crash while writing leaves the last checkpoint whole
    torch.save({"plan": plan, **content}, partial)
    partial.replace(path)


def load(path: Path, plan: str, *, unsaid: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the content that ``save`` wrote.

    Args:
        path: of the file.
        plan: of the training that goes on.
        unsaid: entries of the plan that older checkpoints do not have.

    Raises:
        ValueError: if the file cannot be read or is of another training, with what differs.
    """
    try:
        content: dict[str, Any] = torch.load(path, weights_only=True)
        known = json.loads(content.pop("plan"))
    except Exception as error:  # torch raises many kinds on a damaged file
        raise ValueError(
            f"A checkpoint of this training is needed, but {path} cannot be read ({error}). Move the file away to "
            "start afresh."
        ) from error
    wanted = json.loads(plan)
    for key in unsaid:
        known.setdefault(key, wanted[key])
    if known != wanted:
        differing = [
            f"{key} was {str(known.get(key))[:200]} and is {str(wanted[key])[:200]}"
            for key in sorted(wanted)
            if known.get(key) != wanted[key]
        ]
        raise ValueError(
            f"The checkpoint {path} is of another training: {'; '.join(differing)}. Repeat the command that wrote it, "
            "or choose another folder."
        )
    return content
