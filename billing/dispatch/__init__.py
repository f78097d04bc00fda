"""What a battery or photovoltaics would have made of a customer's use: simple models, stated in
docs/tariffs.md. Values in, values out.
"""
