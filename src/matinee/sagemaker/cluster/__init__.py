"""Jobs' hosts on the nodes of a Ray cluster; all but its settings needs the extra ``ray``."""
