"""Meteorology from NetCDF, Zarr or GRIB through xarray, in the names and units of ARL files."""
