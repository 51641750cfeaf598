"""Which column of a ratings file holds what: layouts known by name, or the user's mapping.

Refuses a file that lacks a column, has it twice, or fits several layouts, naming what was asked for
and what the file has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from matinee.workflow.definition import FIELDS, side_names
from matinee.workflow.errors import RatingsError

REQUIRED = FIELDS[:3]

LAYOUTS: dict[str, dict[str, str]] = {
    "Amazon Customer Reviews (2015)": {
        "customer": "customer_id",
        "video": "product_id",
        "stars": "star_rating",
        "title": "product_title",
        "time": "review_date",
    },
    # Its data card: variants of a product share a parent_asin. Its title is the review's own.
    "Amazon Reviews 2023": {
        "customer": "user_id",
        "video": "parent_asin",
        "stars": "rating",
        "time": "timestamp",
    },
    "MovieLens of RecSys tools": {
        "customer": "user_id",
        "video": "item_id",
        "stars": "rating",
        "time": "timestamp",
    },
    "MovieLens of GroupLens": {
        "customer": "userId",
        "video": "movieId",
        "stars": "rating",
        "time": "timestamp",
    },
}


def columns_of(
    found: Iterable[str],
    mapping: Mapping[str, str] | None,
    source: str,
    side_columns: Sequence[str] = (),
) -> dict[str, str]:
    """Decide which column holds which field.

    Parameters
    ----------
    found : iterable of str
        The file's column names.
    mapping : mapping or None
        The user's choice; all its columns must be there. None: by a layout known here.
    source : str
        The file's URI, for messages.
    side_columns : sequence of str
        More columns to keep; all must be there.

    Returns
    -------
    dict
        Field to column name: at least the customer, video and stars; `side_1` and so on last.

    Raises
    ------
    RatingsError
        If a column is missing or named twice, or if several known layouts fit.
    """
    names = list(found)
    if mapping is not None:
        chosen = dict(mapping)
        missing = [column for column in chosen.values() if column not in names]
        if missing:
            raise RatingsError(
                f"{source} lacks the columns {missing}: the mapping needs {chosen},"
                f" the file has {names}"
            )
    else:
        fitting = [
            layout
            for layout in LAYOUTS.values()
            if all(layout[field] in names for field in REQUIRED)
        ]
        if len(fitting) != 1:
            known = " or ".join(
                str([layout[field] for field in REQUIRED]) for layout in LAYOUTS.values()
            )
            trouble = "fits several known layouts" if fitting else "has no layout known here"
            raise RatingsError(
                f"{source} {trouble}: it needs the columns {known}, or the parameter"
                f" columns to say which hold customer, video and stars; the file has {names}"
            )
        chosen = {field: column for field, column in fitting[0].items() if column in names}
    missing = [column for column in side_columns if column not in names]
    if missing:
        raise RatingsError(
            f"{source} lacks the side columns {missing}: side_columns are {list(side_columns)},"
            f" the file has {names}"
        )
    chosen.update(zip(side_names(len(side_columns)), side_columns, strict=True))
    twice = sorted({column for column in chosen.values() if names.count(column) > 1})
    if twice:
        raise RatingsError(f"{source} has the columns {twice} more than once")
    return chosen
