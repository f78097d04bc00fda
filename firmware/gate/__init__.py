"""Whether updated devices do worse than those that were not: values in, a verdict out."""
