"""Which settings the program would stop on, ignore, or answer without particles: refused by name."""

from __future__ import annotations

from dataclasses import dataclass

from stilt.config import TransportParams
from stilt.errors import UnsupportedSettingError
from stilt.receptors import Receptor
from stilt.transport.protocol import receptor_key

_FILES = ("efile", "pinbc", "pinpf", "poutf")
_LARGEST_SEED = 2**31 - 4
"""The generator starts from seed + 2, which must lie below 2^31 - 1."""

SEEDED, DEFAULT_KRAND = 2, TransportParams.model_fields["krand"].default


def check_settings(params: TransportParams) -> None:
    """
    Refuse what engine ``hysplit`` cannot do.

    Raises
    ------
    UnsupportedSettingError
        Names the key, its value and what to do.
    """

    def refuse(key: str, why: str) -> None:
        raise UnsupportedSettingError(f"{key}: {getattr(params, key)!r} with engine 'hysplit': {why}.")

    if "zfx1" in params.varsiwant:
        raise UnsupportedSettingError(
            "varsiwant: column 'zfx1' stops hycs_std ('Weird variable in VARSIWANT'); remove it."
        )
    if params.ichem != 8:
        refuse("ichem", "only 8, the STILT mode, gives particles; leave ichem out")
    if params.idsp != 2:
        refuse("idsp", "only 2, STILT's dispersion, gives particles; leave idsp out")
    if params.initd != 0:
        refuse("initd", "only 0, particles in all three dimensions, can be followed; leave initd out")
    if params.outdt != int(params.outdt):
        refuse("outdt", "the program takes whole minutes")
    for key in _FILES:
        if getattr(params, key):
            refuse(
                key, f"each simulation runs in a folder of its own, which holds no such file; leave {key} out"
            )
    if params.seed is not None:
        if params.seed > _LARGEST_SEED:
            refuse("seed", f"the program's generator takes 0 to {_LARGEST_SEED}")
        if params.krand not in (DEFAULT_KRAND, SEEDED):
            refuse("krand", f"a seed (here {params.seed}) needs krand {SEEDED}; leave one of the two out")


@dataclass(frozen=True)
class Randomness:
    """
    How a run draws its random numbers.

    Attributes
    ----------
    krand : int
        The program's generator.
    seed : int
        As in the configuration, or the receptor's own.
    """

    krand: int
    seed: int

    @property
    def written(self) -> int:
        """``SEED`` as the program takes it; numbers from 0 on would all give one stream."""
        return -(self.seed + 1)


def randomness(params: TransportParams, receptor: Receptor, *, error: bool) -> Randomness:
    """
    Choose generator and seed: seeded runs repeat, and without a seed each receptor has one of its own.

    Parameters
    ----------
    params : TransportParams
        ``seed`` and ``krand``.
    receptor : Receptor
        Whose numbers.
    error : bool
        Whether this is the perturbed run; without a seed it has numbers of its own.
    """
    if params.seed is not None:
        return Randomness(SEEDED, params.seed)
    seed = receptor_key(receptor, error=error) % _LARGEST_SEED
    return Randomness(SEEDED if params.krand == DEFAULT_KRAND else params.krand, seed)
