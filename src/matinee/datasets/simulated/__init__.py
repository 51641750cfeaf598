"""Simulated ratings: reviews in Amazon's layout at any scale, with a known truth.

A seeded generator of Amazon Customer Reviews TSV (15 columns), of the published example's size at
scale 1, with what real data have: activity with a long tail, quotes that do not close, malformed
rows, ratings given twice. How well the stars can be predicted at best is known. The same scale and
seed give the same text. Memory grows by a few bytes a video and by what is made ahead, no more.
They are called simulated wherever they show.
"""

from typing import Final

LEAST_SCALE: Final = 0.0001
