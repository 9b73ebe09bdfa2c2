"""Files in NOAA ARL's packed format: index records, reading, writing."""
