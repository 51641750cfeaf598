"""Models behind HTTP: starting their servers, asking them, capturing what they are asked."""
