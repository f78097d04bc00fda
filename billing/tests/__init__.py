"""Tests of the app `billing`."""
