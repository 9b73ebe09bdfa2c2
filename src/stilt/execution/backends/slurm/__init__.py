"""
Array jobs on a Slurm cluster.

::

    script     the job script, as text to read        client    Slurm's commands
    backend    submits it                             control   asks about a job, cancels it
    task       inside an array task: back to the queue before the time limit
"""
