"""
Random numbers for particles.

``COUNTER``: Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy
as 1, 2, 3"), keyed by seed and receptor, counted by particle, step and draw. Any
particle's any step can be drawn alone, so threads, order, tiles of meteorology
and other receptors change nothing. Normal deviates come from a 256-layer
ziggurat (Marsaglia and Tsang 2000).

``HYSPLIT``: one stream for all particles, the generator behind ``KRAND=2`` of
``hycs_std``: the minimal standard multiplicative congruential generator (Park and
Miller 1988) with a Bays-Durham shuffle of 32 entries, normal deviates by the polar
method with the spare kept. It exists so that seeded runs of that program can be
followed particle by particle.

State is one int64 array per thread; layout below.
"""

from __future__ import annotations

import math

import numpy as np

from stilt.kernels.compiler import kernel

COUNTER, HYSPLIT = 0, 1
"""Kinds of stream."""

STATE_SIZE = 48

# COUNTER: 0-3 words, 4 next word, 5 block, 6 particle, 7 step, 8-9 key
# HYSPLIT: 10 current, 11 last output, 12 has spare, 13.. shuffle table (32); the spare deviate in ``spare``
_WORD, _BLOCK, _PARTICLE, _STEP, _KEY0, _KEY1 = 4, 5, 6, 7, 8, 9
_CURRENT, _LAST, _HAS_SPARE, _TABLE = 10, 11, 12, 13
_TABLE_SIZE = 32

RELEASE_STEP, WIND_ERROR_STEP, ZI_ERROR_STEP = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
"""Step numbers under which a particle's draws at release are counted: its velocity and its errors."""

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)

_IA, _IM, _IQ, _IR = 16807, 2147483647, 127773, 2836
_DIVISOR = 1 + (_IM - 1) // _TABLE_SIZE
_AM = np.float32(1.0 / _IM)
_RNMX = np.float32(1.0 - 1.2e-7)

F = np.float32


def _ziggurat_tables() -> tuple[np.ndarray, np.ndarray, np.float32]:
    """Layer edges of the unnormalised density exp(-x^2/2) cut into 256 layers of equal area."""
    layers = 256
    edge = 3.6541528853610088
    density = math.exp(-0.5 * edge * edge)
    tail = math.sqrt(math.pi / 2.0) * math.erfc(edge / math.sqrt(2.0))
    area = edge * density + tail
    x = np.empty(layers + 1)
    x[0] = area / density
    x[1] = edge
    for layer in range(2, layers):
        density = math.exp(-0.5 * x[layer - 1] ** 2) + area / x[layer - 1]
        x[layer] = math.sqrt(-2.0 * math.log(min(1.0, density)))
    x[layers] = 0.0
    y = np.exp(-0.5 * x * x)
    return x.astype(np.float32), y.astype(np.float32), np.float32(edge)


_ZIG_X, _ZIG_Y, _ZIG_EDGE = _ziggurat_tables()


@kernel(allocates=False, forceinline=False)
def philox(c0, c1, c2, c3, k0, k1, state):
    """
    Fill ``state[0:4]`` with the four 32-bit words of one Philox 4x32-10 block.

    Parameters
    ----------
    c0, c1, c2, c3, k0, k1 : uint64
        Counter and key words, each below 2^32.
    state : ndarray of int64
        The stream's state.
    """
    for _ in range(10):
        p0 = _M0 * c0
        p1 = _M1 * c2
        c0 = (p1 >> _32) ^ c1 ^ k0
        c1 = p1 & _LOW
        c2 = (p0 >> _32) ^ c3 ^ k1
        c3 = p0 & _LOW
        k0 = (k0 + _W0) & _LOW
        k1 = (k1 + _W1) & _LOW
    state[0] = np.int64(c0)
    state[1] = np.int64(c1)
    state[2] = np.int64(c2)
    state[3] = np.int64(c3)


@kernel(allocates=False)
def start_draws(kind, state, particle, step):
    """Point a counter-based stream at one particle's step; the HYSPLIT stream just goes on."""
    if kind == COUNTER:
        state[_WORD] = 4
        state[_BLOCK] = 0
        state[_PARTICLE] = particle
        state[_STEP] = step


@kernel(allocates=False)
def next_word(state):
    """Return the next 32 random bits of a counter-based stream, as int64."""
    word = state[_WORD]
    if word == 4:
        philox(
            np.uint64(state[_PARTICLE]),
            np.uint64(state[_STEP]),
            np.uint64(state[_BLOCK]),
            np.uint64(0),
            np.uint64(state[_KEY0]),
            np.uint64(state[_KEY1]),
            state,
        )
        state[_BLOCK] += 1
        word = np.int64(0)
    state[_WORD] = word + 1
    return state[word]


@kernel(allocates=False, forceinline=False)
def seed_hysplit(state, seed):
    """Start the KRAND=2 stream: ``seed`` is the (negative) SEED of SETUP.CFG."""
    current = np.int64(max(abs(seed - 1), 1))
    for entry in range(_TABLE_SIZE + 7, -1, -1):
        current = (current * _IA) % _IM
        if entry < _TABLE_SIZE:
            state[_TABLE + entry] = current
    state[_CURRENT] = current
    state[_LAST] = state[_TABLE]
    state[_HAS_SPARE] = 0


@kernel(allocates=False, forceinline=False)
def _hysplit_uniform(state):
    state[_CURRENT] = (state[_CURRENT] * _IA) % _IM
    entry = state[_LAST] // _DIVISOR
    state[_LAST] = state[_TABLE + entry]
    state[_TABLE + entry] = state[_CURRENT]
    return min(_AM * F(state[_LAST]), _RNMX)


@kernel(allocates=False)
def uniform(kind, state):
    """Return a float32 uniform in [0, 1)."""
    if kind == HYSPLIT:
        return _hysplit_uniform(state)
    return F(next_word(state) >> 8) * F(5.9604645e-08)


@kernel(allocates=False, forceinline=False)
def _ziggurat_rare(state, layer, x):
    """Finish a draw that fell outside the layer's rectangle: the tail, the wedge, or start again."""
    while True:
        if layer == 0:
            while True:
                a = -math.log(F(1.0) - uniform(COUNTER, state)) / _ZIG_EDGE
                b = -math.log(F(1.0) - uniform(COUNTER, state))
                if b + b > a * a:
                    break
            return math.copysign(_ZIG_EDGE + a, x)
        y = _ZIG_Y[layer] + uniform(COUNTER, state) * (_ZIG_Y[layer + 1] - _ZIG_Y[layer])
        if y < math.exp(F(-0.5) * x * x):
            return x
        bits = next_word(state)
        layer = bits & 0xFF
        x = F((bits >> 8) - 8388608) * F(1.1920929e-07) * _ZIG_X[layer]
        if abs(x) < _ZIG_X[layer + 1]:
            return x


@kernel(allocates=False)
def normal(kind, state, spare):
    """
    Return a float32 standard normal deviate.

    Parameters
    ----------
    kind : int
        COUNTER or HYSPLIT.
    state : ndarray of int64, shape (STATE_SIZE,)
        The stream's state.
    spare : ndarray of float32, shape (1,)
        Second deviate of the polar method, kept for the next call.
    """
    if kind == COUNTER:
        bits = next_word(state)
        layer = bits & 0xFF
        x = F((bits >> 8) - 8388608) * F(1.1920929e-07) * _ZIG_X[layer]
        if abs(x) < _ZIG_X[layer + 1]:
            return x
        return _ziggurat_rare(state, layer, x)
    if state[_HAS_SPARE] == 1:
        state[_HAS_SPARE] = 0
        return spare[0]
    while True:
        v1 = F(2.0) * _hysplit_uniform(state) - F(1.0)
        v2 = F(2.0) * _hysplit_uniform(state) - F(1.0)
        r2 = v1 * v1 + v2 * v2
        if r2 > F(0.0) and r2 < F(1.0):
            break
    scale = math.sqrt(F(-2.0) * math.log(r2) / r2)
    spare[0] = v1 * scale
    state[_HAS_SPARE] = 1
    return v2 * scale


def new_state(kind: int, seed: int, key: int = 0) -> np.ndarray:
    """
    Make the state of a stream.

    Parameters
    ----------
    kind : int
        COUNTER or HYSPLIT.
    seed : int
        Any integer; for HYSPLIT the number behind ``SEED = -(seed + 1)``.
    key : int
        Further key for COUNTER, such as a receptor's number, below 2^64.
    """
    state = np.zeros(STATE_SIZE, dtype=np.int64)
    if kind == HYSPLIT:
        seed_hysplit(state, -(seed + 1))
        return state
    mixed = np.array([seed & 0xFFFFFFFFFFFFFFFF, key & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64)
    digest = np.zeros(4, dtype=np.int64)
    # one Philox block folds seed and receptor into a 64-bit key
    philox(
        np.uint64(int(mixed[0]) & 0xFFFFFFFF),
        np.uint64(int(mixed[0]) >> 32),
        np.uint64(int(mixed[1]) & 0xFFFFFFFF),
        np.uint64(int(mixed[1]) >> 32),
        np.uint64(0x5354494C),
        np.uint64(0x54000001),
        digest,
    )
    state[_KEY0], state[_KEY1] = digest[0], digest[1]
    return state
