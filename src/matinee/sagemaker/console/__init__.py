"""The console: web pages that show what the local SageMaker has and does.

Served below ``/console/`` to who has the token, in a browser that needs no network beyond this
server. Everything is rendered here and works without scripts; those refresh what goes on and draw
curves. A page of somebody above the server joins in by ``--console-page`` (``added_pages.py``), and
is given `Frame`.
"""

from matinee.sagemaker.console.frame import Frame

__all__ = ["Frame"]
