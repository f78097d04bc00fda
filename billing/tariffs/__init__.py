"""The tariff engine: what use costs, by a written tariff. Values in, values out; docs/tariffs.md.

`document` reads a tariff, `check` finds what is wrong with it, `rating` computes what use costs and
why. Money, prices and quantities are `Decimal`; the energy of an interval is an integer of mWh.
"""
