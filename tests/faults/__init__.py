"""What a server does when things go wrong: killed, out of disk, cut off, lied to."""
