"""Pages of firmware: releases and signing keys."""
