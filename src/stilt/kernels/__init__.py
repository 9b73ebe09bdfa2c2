"""
All compiled code: numbers and arrays in, numbers and arrays out, one process per module.

Kernels know no paths, tables or settings objects and import only
:mod:`stilt.constants` and each other. They are compiled by
:func:`stilt.kernels.compiler.kernel` and return status codes; the layers above
turn those into messages.
"""
