"""Roles, their policies, and the temporary keys of sessions."""
