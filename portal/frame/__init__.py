"""The frame of every page: navigation, permissions, lists, forms, messages."""
