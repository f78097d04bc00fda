"""Layouts of charts, made by plotly's Python library; the socket brings the readings."""
