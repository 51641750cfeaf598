"""Ratings files into a DuckDB table: each row usable, or malformed for one stated cause.

Refuses ratings of which no row is usable.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from matinee.workflow import ratings
from matinee.workflow.errors import RatingsError
from matinee.workflow.malformed import (
    BLANK_CUSTOMER,
    BLANK_VIDEO,
    NOT_UTF8,
    STARS_NOT_A_NUMBER,
    STARS_OUT_OF_RANGE,
    MalformedRows,
)
from matinee.workflow.objects import Objects
from matinee.workflow.settings import Settings

_TABLES = """
create table loaded (
    source integer, customer varchar, video varchar, stars double, title varchar, seconds double,
    time_unreadable boolean, cause varchar, malformed_row varchar
);
create view rated as
    select customer, video, stars, title, seconds from loaded where cause is null
"""

# The cause is the first rule that a row breaks.
_LOAD = """
insert into loaded select
    $source,
    customer,
    video,
    try_cast(trim(stars) as double) as star_count,
    nullif(trim(title), ''),
    coalesce(
        case when isfinite(try_cast(time as double)) then try_cast(time as double) end,
        epoch(try_cast(time as timestamp))
    ) as seconds,
    seconds is null and trim(coalesce(time, '')) <> '',
    case
        when trim(coalesce(customer, '')) = '' then $blank_customer
        when trim(coalesce(video, '')) = '' then $blank_video
        when contains(concat(customer, video), chr(65533)) then $not_utf8
        when star_count is null or not isfinite(star_count) then $not_a_number
        when star_count not between 1 and 5 then $out_of_range
    end as cause,
    case when cause is not null then concat(
        'customer ', coalesce(customer, 'missing'), ', video ', coalesce(video, 'missing'),
        ', stars ', coalesce(stars, 'missing')
    ) end
from batch
"""
_CAUSES = {
    "blank_customer": BLANK_CUSTOMER,
    "blank_video": BLANK_VIDEO,
    "not_utf8": NOT_UTF8,
    "not_a_number": STARS_NOT_A_NUMBER,
    "out_of_range": STARS_OUT_OF_RANGE,
}

_MALFORMED = """
select source, cause, count(*), min(malformed_row) from loaded where cause is not null
group by source, cause order by source, cause
"""


def load(
    database: duckdb.DuckDBPyConnection,
    objects: Objects,
    sources: list[str],
    settings: Settings,
    scratch: Path,
    malformed: MalformedRows,
) -> int:
    """Put the ratings into the view `rated`: customer, video, stars, title, seconds.

    Parameters
    ----------
    database : duckdb.DuckDBPyConnection
    objects : Objects
    sources : list of str
        URIs of the ratings' objects.
    settings : Settings
    scratch : Path
        Folder for one object at a time.
    malformed : MalformedRows
        Takes the rows that are not usable.

    Returns
    -------
    int
        How many usable ratings have a time that cannot be read; they count as the oldest.

    Raises
    ------
    ObjectsError, RatingsError
        If an object cannot be read, or no row is usable.
    """
    database.execute(_TABLES)
    for number, source in enumerate(sources):
        path = scratch / "object"
        objects.download(source, path)
        for batch in ratings.read(path, source, settings.columns, malformed):
            database.register("batch", batch)
            database.execute(_LOAD, {"source": number, **_CAUSES})
            database.unregister("batch")
        path.unlink()
    for number, cause, count, row in database.execute(_MALFORMED).fetchall():
        malformed.add(cause, sources[number], row, count)
    [(usable, unreadable_times)] = database.execute(
        "select count(*), count(*) filter (time_unreadable) from loaded where cause is null"
    ).fetchall()
    if not usable and malformed.total:
        raise RatingsError(
            f"none of the {malformed.total} rows of {settings.ratings} is a usable rating:"
            f" {malformed.describe()}"
        )
    if not usable:
        raise RatingsError(f"{settings.ratings} holds no ratings: it is empty")
    return int(unreadable_times)
