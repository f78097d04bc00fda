"""Meter data files as utilities send them: NEM12, NEM13, Green Button, tables (CSV, Parquet).

Pure: bytes in, `MeterFile` out, for a dry run as for an import. `reading.read_meter_file` is the
one way in.
"""
