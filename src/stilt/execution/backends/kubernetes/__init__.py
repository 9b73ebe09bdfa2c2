"""
Pods on a Kubernetes cluster.

::

    manifests   the objects, as typed models        render     them, from the configuration
    client      the few calls to the API server     backend    an Indexed Job per batch
    control     asks about a job, cancels it
"""
