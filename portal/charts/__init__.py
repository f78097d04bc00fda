"""Layouts of charts, made by plotly's Python library; the data come to the browser over the socket."""
