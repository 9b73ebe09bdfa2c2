"""
The HYSPLIT engine: NOAA's ``hycs_std`` in STILT mode, run for each receptor in a folder of its own.

The program belongs to the user; nothing of it is part of this package. Data flows one way::

    request -> settings, release -> CONTROL, SETUP.CFG, error files, links to meteorology and tables
            -> program -> PARTICLE_STILT.DAT -> columns -> verdict -> table

``program`` finds the program, runs it and ends it; ``settings`` refuses what it would ignore or
stop on; ``release`` knows which particle comes from which height; ``control``, ``namelist`` and
``error_files`` write what it reads; ``staging`` puts everything into the folder; ``particles`` reads
what it printed and ``verdict`` decides whether that is a whole run.
"""
