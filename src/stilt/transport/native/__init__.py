"""
The native engine: the physics of HYSPLIT's STILT mode in compiled Python.

Data flows one way::

    MetSeries -> recipe -> tiles of prepared columns -> kernels.particles -> table

``levels`` builds the internal vertical grid, ``recipe`` finds in a file what the
columns are made of, ``tiles`` prepares and keeps them, ``release`` puts the
particles at the receptor, ``settings`` refuses what is not implemented, ``engine``
drives the time loop and ``table`` turns what was recorded into columns.
"""
