"""Recommendations for all customers: how many a second, in how much memory."""
