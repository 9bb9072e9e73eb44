"""Outcomes by the client's Sampler: what it is given and gives, and how many shots it takes."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import warnings
from typing import Any

from qiskit.primitives import BitArray

from qiskit_metainit.deployment.channels.channel import Request


def sampler(mode: Any, options: Any) -> Any:
    """Return the client's sampler: the one that prepares circuits here where it is there, else the older one.

    Raises:
        ValueError: if the options are none of its.
    """
    kind: Any
    try:
        from qiskit_ibm_runtime.executor_sampler import Sampler

        kind = Sampler
    except ImportError:
        from qiskit_ibm_runtime import SamplerV2

        kind = SamplerV2
    own = copy.deepcopy(options)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # where the older one is, there is no other
            return kind(mode=mode, options=own)
    except (TypeError, ValueError) as error:
        if options is None or not isinstance(options, dict | int | str | list | tuple):
            raise
        raise ValueError(
            "Options of the client's Sampler are needed, such as {'twirling': {'enable_measure': True}}, but these "
            f"came: {options!r}. {error}"
        ) from error


def recorded(options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the sampler's options as JSON, all of them and those that are not the client's defaults."""
    if hasattr(options, "model_dump"):
        every = options.model_dump(mode="json", exclude={"simulator"})
        return every, options.model_dump(mode="json", exclude={"simulator"}, exclude_defaults=True)
    every = json.loads(json.dumps(dataclasses.asdict(options), default=lambda _: None))
    every.pop("simulator", None)
    return every, _set(every)


def _set(options: dict[str, Any]) -> dict[str, Any]:
    """Return what is not None, as older clients' options are where nobody set them."""
    kept = {name: _set(value) if isinstance(value, dict) else value for name, value in options.items()}
    return {name: value for name, value in kept.items() if value not in (None, {})}


def pubs(request: Request) -> list[Any]:
    """Return the client's PUBs; their circuits' metadata says which of the request's they belong to."""
    made: list[Any] = []
    for index, (circuit, points) in enumerate(request.pubs):
        marked = circuit.copy()
        marked.metadata = {"pub": index}
        # Without parameters the client has nothing to broadcast over, and would run one evaluation.
        made.extend([(marked, points)] if points.shape[1] else [(marked,)] * len(points))
    return made


def bits(result: Any) -> tuple[BitArray, ...]:
    """Return the outcomes of each PUB of the request, of shape (K,)."""
    parts: dict[int, list[BitArray]] = {}
    for index, found in enumerate(result):
        own = next(iter(found.data.values()))
        pub = (found.metadata.get("circuit_metadata") or {}).get("pub", index)
        parts.setdefault(pub, []).append(own.reshape(own.size))
    return tuple(BitArray.concatenate(parts[pub]) for pub in sorted(parts))


def shots_of(twirling: Any, shots: int) -> int:
    """Return how many shots an evaluation takes."""
    if twirling.enable_gates is not True and twirling.enable_measure is not True:
        return shots
    count, each = twirled(twirling, shots)
    return count * each


def twirled(twirling: Any, shots: int) -> tuple[int, int]:
    """Return the randomizations and the shots of each, by the rule in the client's documentation of TwirlingOptions.

    Their product is at least ``shots``, and more where they do not divide.
    """
    count, each = (
        found if isinstance(found, int) else None
        for found in (twirling.num_randomizations, twirling.shots_per_randomization)
    )
    if each is None:
        each = max(64, math.ceil(shots / 32)) if count is None else math.ceil(shots / count)
    if count is None:
        count = math.ceil(shots / each)
    return count, each
