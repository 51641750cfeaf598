"""Processes on this machine: started, limited, isolated, watched and ended."""
