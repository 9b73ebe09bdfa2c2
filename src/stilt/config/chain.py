"""
Chains of meteorologies: a fine one, and the coarser ones in which its particles go on.

A met names its fallbacks, which may have fallbacks of their own; what is asked for in the end is
one ordered list without repetition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stilt.config.met import MetConfig
from stilt.spelling import did_you_mean


def chain_section(name: str, value: Any) -> Any:
    """
    Turn a list under one name into a section with fallbacks; anything else stays as it is.

    Parameters
    ----------
    name : str
        Key under ``mets``.
    value : object
        What stands there.

    Raises
    ------
    ValueError
        A list whose first entry is no section, or has fallbacks besides.
    """
    if not isinstance(value, (list, tuple)):
        return value
    if not value or not isinstance(value[0], (Mapping, MetConfig)):
        raise ValueError(
            f"{name}: a list of meteorologies begins with the keys of '{name}' itself, such as directory; "
            "names of other mets may follow"
        )
    first, *others = value
    given = first.fallback if isinstance(first, MetConfig) else first.get("fallback")
    if given and others:
        raise ValueError(
            f"{name}: both a list and fallback say where particles go on; put {name}'s fallback into the list"
        )
    if isinstance(first, MetConfig):
        return first.replace(fallback=tuple(others)) if others else first
    return {**first, "fallback": others} if others else first


def met_chain(mets: Mapping[str, MetConfig], name: str) -> tuple[tuple[str, MetConfig], ...]:
    """
    List a meteorology and those in which its particles go on, each once.

    Parameters
    ----------
    mets : mapping of str to MetConfig
        All of them.
    name : str
        Where to begin.

    Returns
    -------
    tuple of (str, MetConfig)
        In order of preference.

    Raises
    ------
    ValueError
        A name that does not exist, or a fallback that leads back to where it came from.
    """
    found: list[tuple[str, MetConfig]] = []

    def follow(key: str, met: MetConfig, above: tuple[str, ...]) -> None:
        if key not in [seen for seen, _ in found]:
            found.append((key, met))
        for other in met.fallback:
            if not isinstance(other, str):
                unnamed = f"{name}.{len(found) + 1}"
                follow(unnamed, other, (*above, unnamed))
                continue
            if other not in mets:
                raise ValueError(f"{above[0]}.fallback: unknown met '{other}', {did_you_mean(other, mets)}")
            if other in above:
                way = " -> ".join([*above[above.index(other) :], other])
                raise ValueError(f"{name}.fallback: {way} goes round in a circle; remove one of them")
            follow(other, mets[other], (*above, other))

    follow(name, mets[name], (name,))
    return tuple(found)
