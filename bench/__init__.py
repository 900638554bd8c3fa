"""Measurements, each figure beside the ceiling of the same run; `make bench` prints the table."""
