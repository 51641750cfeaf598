"""Public data sets, fetched from where they are published; none is part of matinee."""
