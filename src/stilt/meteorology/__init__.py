"""
Meteorology: files to fields.

Files are found by the configuration and chosen by the times in their index records
(:mod:`~stilt.meteorology.catalog`), become one series of analyses on one grid
(:mod:`~stilt.meteorology.series`), and are decoded for a box of cells at a time
(:mod:`~stilt.meteorology.frame`). :mod:`~stilt.meteorology.synthetic` makes up worlds.
"""
