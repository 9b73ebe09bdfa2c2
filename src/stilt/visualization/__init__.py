"""
Static plots with matplotlib (extra ``plot``), reached as ``receptor.plot``, ``footprint.plot`` and so on.

::

    style    figures, colours, words              coastlines   the lines that ship with the package
    plane    positions, views and sizes           maps         coastlines, ticks, scale bar, receptor
    cells    colours and outlines of a footprint  panels       several maps on a page
    receptor, trajectories, footprint, simulation, availability     what is drawn of each

Every function takes ``ax=`` and returns the axes (or the figure, where it draws several). Without ``ax``
the figure is made outside pyplot: nothing is registered, so plots work in threads and leave no open figures
behind; a notebook shows what is returned, and a script calls ``ax.figure.savefig(path)``. For a window,
pass axes of ``pyplot.subplots()``. Axes of cartopy work as well.
"""
