"""The preprocess step as one SQL text, whichever engine runs it.

    raw -> checked -> active -> kept -> distinct_ratings -> customers, videos -> split_ratings
             └──> title_counts ───────────────────────────────────────^

`raw` is what a reader makes of the files: text alone, one row a line. Every query after it is
written here once, and only `dialects` differs, so the same ratings and seed give the same rows in
the same order on every engine: ids are ordered by their bytes, of equally late reviews the one with
more stars counts, splits and orders come from the MD5 of the ids, and numbers and dates are taken
by patterns of our own before an engine casts them. Spec: docs/data.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from matinee.workflow.dialects import Dialect
from matinee.workflow.malformed import (
    BLANK_CUSTOMER,
    BLANK_VIDEO,
    NOT_UTF8,
    NUL_BYTE,
    SAMPLES_PER_CAUSE,
    STARS_NOT_A_NUMBER,
    STARS_OUT_OF_RANGE,
)
from matinee.workflow.parts import SPLITS

if TYPE_CHECKING:
    from matinee.workflow.settings import Settings

# What a reader gives of each row, as text: null or empty where the file has none.
FIELDS = ("customer", "video", "stars", "title", "time")

# Engines cast more than these, and each its own: '5d', '1_000', 'infinity', '2015'.
_NUMBER = "^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$"
_TIME_OF_DAY = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]+)?)?"
_ZONE = "(Z|[+-][0-9][0-9](:?[0-9][0-9])?)"
_DATE_AND_TIME = f"^[0-9]{{4}}-[0-9][0-9]-[0-9][0-9][T ]{_TIME_OF_DAY} ?{_ZONE}?$"
# Times from here on are milliseconds, as those of Amazon Reviews 2023 are: in seconds they would be
# in the year 5138.
MILLISECONDS_FROM = 1e11
# Larger ones are infinite to some engine, or overflow when it adds to them.
_LARGEST = "1e300"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Of a hash, for `positioned`: 4,096 buckets.
_BUCKET_DIGITS = 3


def side_names(count: int) -> list[str]:
    """Return what the definition calls the side columns: the users' own names stay out of SQL."""
    return [f"side_{number}" for number in range(1, count + 1)]


def _trimmed(column: str) -> str:
    """Return a text without blanks around it; few have any, and looking is cheaper than cutting."""
    return f"""
        case when {column} like ' %' or {column} like '% ' then trim(both ' ' from {column})
            else {column} end"""


def thresholds(fractions: Sequence[float]) -> list[str]:
    """Return where splits begin among 128-bit hashes, as hexadecimal text.

    Parameters
    ----------
    fractions : sequence of float
        Shares of all splits but the last, taken as the decimal numbers they are written as.

    Returns
    -------
    list of str
        For each of them, the first hash of the split after it.
    """
    total = Fraction(0)
    starts = []
    for fraction in fractions:
        total += Fraction(str(fraction))
        starts.append(f"{int(total * 2**128):032x}")
    return starts


@dataclass(frozen=True, slots=True)
class Definition:
    """The queries for one dialect and one run's settings.

    Attributes
    ----------
    dialect : Dialect
    settings : Settings
    prefix : str
        Before the name of each table, where several runs share a database.
    sides : list of str
        What the side columns are called here.
    carried : list of str
        What comes along with the ratings of the splits: the time, if a feature needs it, and sides.
    """

    dialect: Dialect
    settings: Settings
    prefix: str = ""
    sides: list[str] = field(init=False)
    carried: list[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sides", side_names(len(self.settings.side_columns)))
        timed = ["seconds"] if self.settings.is_timed else []
        object.__setattr__(self, "carried", [*timed, *self.sides])

    def checked(self, raw: str) -> str:
        """Return the query of all rows: mended, cast, and with the first rule that each breaks.

        Parameters
        ----------
        raw : str
            A relation: `source`, `FIELDS`, the side columns, `fault` (the reader's cause, or null)
            and `line` (the row, where there is a fault).
        """
        literal = self.dialect.literal
        sides = self._list(self.sides)
        mended = f"""
            select source, fault, line, {_trimmed("stars")} as star_text,
                nullif({_trimmed("title")}, '') as title, {_trimmed("time")} as time,
                {self._mended("customer")} as customer, {self._mended("video")} as video,
                customer as given_customer, video as given_video
                {self._list(f"coalesce({side}, '') as {side}" for side in self.sides)}
            from {raw}"""
        cast = f"""
            select source, fault, line, star_text, title, time, customer, video,
                case when customer <> given_customer or video <> given_video then 1 else 0 end
                    as mended,
                {self._stars("star_text")} as stars, {self._seconds("time")} as seconds {sides}
            from ({mended}) as mended_rows"""
        judged = f"""
            select source, line, star_text, title, time, customer, video, mended, stars, seconds,
                case when fault is not null then fault
                    when coalesce(customer, '') = '' then {literal(BLANK_CUSTOMER)}
                    when coalesce(video, '') = '' then {literal(BLANK_VIDEO)}
                    when {self._either_holds(literal(_REPLACEMENT))} then {literal(NOT_UTF8)}
                    when {self._either_holds("chr(0)")} then {literal(NUL_BYTE)}
                    when stars is null then {literal(STARS_NOT_A_NUMBER)}
                    when stars < 1 or stars > 5 then {literal(STARS_OUT_OF_RANGE)}
                end as cause {sides}
            from ({cast}) as cast_rows"""
        return f"""
            select source, customer, video, cast(stars as real) as stars, seconds, title, mended,
                case when seconds is null and time <> '' then 1 else 0 end as unreadable_time,
                cause,
                case when cause is null then null when line is not null then line else concat(
                    'customer ', coalesce(customer, 'missing'),
                    ', video ', coalesce(video, 'missing'),
                    ', stars ', coalesce(star_text, 'missing')
                ) end as malformed_row {sides}
            from ({judged}) as judged_rows"""

    def title_rows(self, rows: str) -> str:
        """Return the query of how many rows give a video a title; `rows` is a relation of both."""
        return f"""
            select video, title, count(*) as rows_of_title from {rows}
            where title is not null and video is not null group by video, title"""

    def title_counts(self, title_rows: str) -> str:
        """Return the query of the same, ids and titles mended, usable rows or not.

        Mending after counting is mending once a title, not once a row.
        """
        return f"""
            select video, title, sum(rows_of_title) as rows_of_title
            from (select {self._mended("video")} as video, {_trimmed("title")} as title,
                    rows_of_title from ({title_rows}) as given) as mended
            where title <> '' and video <> '' group by video, title"""

    def usable(self) -> str:
        """Return the query of the usable rows' number, mended ids and unreadable times."""
        return f"""
            select count(*), coalesce(sum(mended), 0), coalesce(sum(unreadable_time), 0)
            from {self._table("checked")} where cause is null"""

    def replaced_titles(self) -> str:
        """Return the query of how many rows have a title with U+FFFD for what was not UTF-8."""
        return f"""
            select coalesce(sum(rows_of_title), 0) from {self._table("title_counts")}
            where position({self.dialect.literal(_REPLACEMENT)} in title) > 0"""

    def malformed(self) -> str:
        """Return the query of source, cause, number, sample: some samples of each."""
        return f"""
            select source, cause, rows_of_cause, malformed_row from (
                select source, cause, malformed_row,
                    count(*) over (partition by source, cause) as rows_of_cause,
                    row_number() over (partition by source, cause order by malformed_row) as place
                from {self._table("checked")} where cause is not null
            ) as samples where place <= {SAMPLES_PER_CAUSE} order by source, cause, place"""

    def counts(self, column: str) -> str:
        """Return the query of the usable rows of each customer, or of each video."""
        return f"""
            select {column}, count(*) as ratings from {self._table("checked")}
            where {self._counted()} group by {column}"""

    # The filters count the usable rows before duplicates go, as the published example does.
    def active(self) -> str:
        """Return the query of the usable rows by customers with enough of them."""
        return f"""
            select customer, video, stars, seconds {self._list(self.sides)}
            from {self._table("checked")} where {self._counted()} and customer in (
                select customer from {self._table("customer_counts")}
                where ratings >= {self.settings.min_ratings_per_customer})"""

    def kept(self) -> str:
        """Return the query of those of videos with enough usable rows."""
        return f"""
            select customer, video, stars, coalesce(seconds, -{_LARGEST}) as seconds
                {self._list(self.sides)}
            from {self._table("active")} where video in (
                select video from {self._table("video_counts")}
                where ratings >= {self.settings.min_ratings_per_video})"""

    def distinct_ratings(self) -> str:
        """Return the query of the latest rating of each customer and video.

        Of equally late ones it is the highest, so that the order of rows never matters.
        """
        latest = self.dialect.row(["seconds", "stars", *self.sides])
        carried = (
            f"nullif(max(seconds), -{_LARGEST}) as seconds"
            if column == "seconds"
            else f"max_by({column}, {latest}) as {column}"
            for column in self.carried
        )
        return f"""
            select customer, video, max_by(stars, {latest}) as stars {self._list(carried)}
            from {self._table("kept")} group by customer, video"""

    def customers(self) -> str:
        """Return the query of index, customer, ratings: the busiest first, then by id."""
        return f"""
            select cast(row_number() over (order by ratings desc, customer) - 1 as integer)
                    as index, customer, ratings
            from (select customer, cast(count(*) as integer) as ratings
                from {self._table("distinct_ratings")} group by customer) as counted"""

    def videos(self) -> str:
        """Return the query of index, video, title, ratings.

        A video's title is its most frequent one, ties to the first in byte order.
        """
        return f"""
            select cast(row_number() over (order by ratings desc, video) - 1 as integer) as index,
                video, title, ratings
            from (select video, cast(count(*) as integer) as ratings
                from {self._table("distinct_ratings")} group by video) as counted
            left join (select video as titled, title from (
                select video, title, row_number() over (
                    partition by video order by sum(rows_of_title) desc, title) as place
                from {self._table("title_counts")} group by video, title
            ) as ranked where place = 1) as titles on titled = video"""

    # Hashing ids, not indexes, keeps a rating in its split when others are added; comparing hex
    # text leaves no room for integer overflow in any engine.
    def split_ratings(self) -> str:
        """Return the query of all ratings by index, with hash and split."""
        validate_from, test_from = thresholds(
            [self.settings.train_fraction, self.settings.validate_fraction]
        )
        train, validate, test = map(self.dialect.literal, SPLITS)
        ids = f"concat(rated.customer, '|', rated.video, '|', '{self.settings.seed}')"
        return f"""
            select customer_index, video_index, stars, hash, customer, video,
                case when hash < '{validate_from}' then {train}
                    when hash < '{test_from}' then {validate} else {test} end as split
                {self._list(self.carried)}
            from (select customers.index as customer_index, videos.index as video_index,
                    rated.stars, {self.dialect.md5(ids)} as hash, rated.customer, rated.video
                    {self._list(f"rated.{column}" for column in self.carried)}
                from {self._table("distinct_ratings")} as rated
                join {self._table("customers")} as customers
                    on customers.customer = rated.customer
                join {self._table("videos")} as videos on videos.video = rated.video
            ) as hashed"""

    def ordered(self, split: str) -> str:
        """Return the query of a split's rows in their order."""
        return f"""
            select customer_index as customer, video_index as video, stars
                {self._list(self.carried)}
            from {self._table("split_ratings")} where split = {self.dialect.literal(split)}
            order by hash, customer, video"""

    def positioned(self, part_rows: int) -> str:
        """Return the query of all rows with their split, part, and place in the split.

        For engines whose results come from many workers: no order over all rows is asked for,
        only one within each bucket of hashes.
        """
        bucket = f"substr(hash, 1, {_BUCKET_DIGITS})"
        split_ratings = self._table("split_ratings")
        return f"""
            select customer_index, video_index, stars {self._list(self.carried)}, place, split,
                cast((place - mod(place, {part_rows})) / {part_rows} as integer) as part
            from (select hashed.*, cast(starts.start + row_number() over (
                    partition by hashed.split, hashed.bucket
                    order by hash, customer, video) - 1 as bigint) as place
                from (select split_ratings.*, {bucket} as bucket
                    from {split_ratings} as split_ratings) as hashed
                join (select split, bucket,
                        sum(ratings) over (partition by split order by bucket) - ratings as start
                    from (select split, {bucket} as bucket, count(*) as ratings
                        from {split_ratings} group by split, {bucket}) as buckets
                ) as starts on starts.split = hashed.split and starts.bucket = hashed.bucket
            ) as placed"""

    def funnel(self) -> list[tuple[str, str]]:
        """Return what each step is called, and the query of its ratings, customers, videos.

        The last two steps have the same customers and videos.
        """
        settings = self.settings
        counts, least = self._table("customer_counts"), settings.min_ratings_per_customer
        left = f"""(select count(*) from {self._table("customers")}),
            (select count(*) from {self._table("videos")})"""
        return [
            (
                "usable rows" if settings.until is None else f"before {settings.until}",
                f"""select (select coalesce(sum(ratings), 0) from {counts}),
                    (select count(*) from {counts}),
                    (select count(*) from {self._table("video_counts")})""",
            ),
            (
                f"customers with {least} or more",
                f"""select (select coalesce(sum(ratings), 0) from {counts}
                        where ratings >= {least}),
                    (select count(*) from {counts} where ratings >= {least}),
                    (select count(distinct video) from {self._table("active")})""",
            ),
            (
                f"videos with {settings.min_ratings_per_video} or more",
                f"select (select count(*) from {self._table('kept')}), {left}",
            ),
            (
                "latest of each customer and video",
                f"select (select count(*) from {self._table('distinct_ratings')}), {left}",
            ),
        ]

    def most(self, column: str) -> str:
        """Return the query of the most usable rows of any customer, or of any video."""
        return f"select max(ratings) from {self._table(f'{column}_counts')}"

    def split_counts(self) -> str:
        """Return the query of split and ratings."""
        return f"select split, count(*) from {self._table('split_ratings')} group by split"

    def histogram(self) -> str:
        """Return the query of stars and ratings."""
        return f"""
            select stars, count(*) from {self._table("distinct_ratings")}
            group by stars order by stars"""

    def index(self, table: str) -> str:
        """Return the query of the table `customers` or `videos`, in order."""
        return f"select * from {self._table(table)} order by index"

    def _counted(self) -> str:
        """Return the condition of rows that count: the usable ones, of the time asked for."""
        until = self.settings.until_seconds
        if until is None:
            return "cause is null"
        seconds = f"case when seconds >= {MILLISECONDS_FROM} then seconds / 1000 else seconds end"
        return f"cause is null and {seconds} < {until!r}"

    def _table(self, name: str) -> str:
        return f"{self.prefix}{name}"

    @staticmethod
    def _list(columns: Iterable[str]) -> str:
        return "".join(f", {column}" for column in columns)

    def _mended(self, column: str) -> str:
        """Return an id without blanks around it, and 123 for 123.0: a float's way to write it."""
        bare = f"trim(both ' ' from {column})"
        return f"""
            case when {column} like ' %' or {column} like '% ' or {column} like '%.0' then
                case when {self.dialect.matches(bare, "^[0-9]+[.]0$")}
                    then substr({bare}, 1, length({bare}) - 2) else {bare} end
            else {column} end"""

    @staticmethod
    def _either_holds(text: str) -> str:
        return f"position({text} in customer) > 0 or position({text} in video) > 0"

    def _number(self, column: str) -> str:
        """Return a text as a number, null if it is none or too large to reckon with."""
        number = f"try_cast({column} as double)"
        return f"""
            case when {self.dialect.matches(column, _NUMBER)} then
                case when abs({number}) <= {_LARGEST} then {number} end end"""

    def _stars(self, column: str) -> str:
        return f"""
            case when {column} in ('1', '2', '3', '4', '5') then cast({column} as double)
                else {self._number(column)} end"""

    def _seconds(self, column: str) -> str:
        """Return seconds since 1970 of a date, a date and time (UTC, unless it says), a number."""
        days = self.dialect.days(f"try_cast(substr({column}, 1, 10) as date)")
        day = f"cast({days} as double) * 86400"
        seconds = f"regexp_extract({column}, '^[^:]+:[0-9]+:([0-9.]+)', 1)"
        zone = f"regexp_extract({column}, ':.*([+-])[0-9:]+$', 1)"
        hours = f"regexp_extract({column}, ':.*[+-]([0-9][0-9]):?[0-9]*$', 1)"
        minutes = f"regexp_extract({column}, ':.*[+-][0-9][0-9]:?([0-9][0-9])$', 1)"
        return f"""
            case when {column} like '____-__-__' then {day}
                when {self.dialect.matches(column, _DATE_AND_TIME)} then
                    {day} + cast(substr({column}, 12, 2) as integer) * 3600
                    + cast(substr({column}, 15, 2) as integer) * 60
                    + coalesce(try_cast({seconds} as double), 0)
                    - case when {zone} = '-' then -1 when {zone} = '+' then 1 else 0 end
                    * (coalesce(try_cast({hours} as integer), 0) * 3600
                    + coalesce(try_cast({minutes} as integer), 0) * 60)
                else {self._number(column)} end"""
