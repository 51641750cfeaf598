"""The definition on Spark: EMR, Glue, any cluster, or this machine.

Spark reads lines, CSV and Parquet itself; what a file is is told from its first bytes, as
everywhere. A Spark of this machine (its master is `local`) knows no S3, so objects are copied to
the scratch folder first; any other reads and writes s3:// by itself. Needs the extra `spark`.
Refuses what cannot be read; what a cluster may get over by itself stays Spark's error.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql.functions import expr, from_json
from pyspark.sql.types import IntegerType, StringType, StructField, StructType

from matinee.workflow import streams
from matinee.workflow.definition import FIELDS, Definition
from matinee.workflow.dialects import SPARK
from matinee.workflow.engines.results import parts_of, read_sorted
from matinee.workflow.errors import RatingsError
from matinee.workflow.lines import raw_of_tsv
from matinee.workflow.malformed import NOT_JSON, WRONG_FIELD_COUNT, MalformedRows
from matinee.workflow.ratings import Head, Wanted, head_of
from matinee.workflow.settings import Settings
from matinee.workflow.sources import Sources, is_local

_CORRUPT = "_corrupt_record"
_DIGITS = 9  # of a staged file's name
_VALID_UTF8_SINCE = 4
# What Java says of a file that is broken, and no cluster can mend.
_BROKEN = re.compile(
    r"java\.io\.EOFException|java\.util\.zip|not a gzip file|incorrect (header|data) check"
    r"|is not a Parquet file|Could not read footer"
)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Files that are read together: of one format, with the same columns."""

    format: str
    names: tuple[str, ...]
    fields: tuple[tuple[str, str], ...]


class Spark:
    """A Spark session, the one there is or one of its own, which it stops."""

    def __init__(
        self, settings: Settings, run: str, sources: Sources, scratch: Path, part_rows: int
    ) -> None:
        self.definition = Definition(SPARK, settings)
        self._part_rows = part_rows
        self._wanted = Wanted(settings.columns, settings.side_columns)
        self._sources = sources
        self._scratch = scratch
        self._ours = SparkSession.getActiveSession() is None
        self._session = SparkSession.builder.appName(f"matinee {run}").getOrCreate()
        self._local = self._session.sparkContext.master.startswith("local")
        folder = str(scratch) if self._local else f"{settings.folder(run)}/preprocess"
        self._work = f"{folder}/work"
        self._tables: dict[str, DataFrame] = {}
        self._placed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in list(self._tables):
            self.drop(name)
        if self._ours:
            self._session.stop()
        if not self._local:
            self._sources.delete_folder(self._work)

    def load(self, objects: list[str]) -> MalformedRows:
        groups: dict[_Kind, list[str]] = {}
        for number, source in enumerate(objects):
            head = head_of(self._sources, source)
            if head.format != "empty":
                path = self._readable(number, source, head)
                groups.setdefault(self._kind(head, path, source), []).append(path)
        with _refusing_broken_files(self.definition.settings.ratings):
            frames = [self._raw(kind, paths) for kind, paths in groups.items()]
            raw = (
                frames[0]
                if frames
                else self._session.createDataFrame([], _no_rows(self._sides, self._local))
            )
            for frame in frames[1:]:
                raw = raw.unionByName(frame)
            raw.createOrReplaceTempView("raw")
            self.create("checked", self.definition.checked("raw"))
            titles = self.definition.title_rows("checked")
            self.create("title_counts", self.definition.title_counts(titles))
        return MalformedRows()

    def create(self, name: str, query: str) -> None:
        frame = self._session.sql(query).persist()
        frame.createOrReplaceTempView(name)
        frame.count()  # now: what it is made of may be dropped next
        self._tables[name] = frame

    def drop(self, name: str) -> None:
        self._tables.pop(name).unpersist()
        self._session.catalog.dropTempView(name)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._session.sql(query).collect()]

    def split(self, name: str) -> Iterator[pa.Table]:
        folder = f"{self._work}/ratings"
        if not self._placed:
            query = self.definition.positioned(self._part_rows)
            frame = self._session.sql(query).repartition("split", "part")
            frame.write.mode("overwrite").partitionBy("split", "part").parquet(folder)
            self._placed = True
        columns = ["customer_index", "video_index", "stars", *self.definition.carried]
        for part in range(parts_of(self._sources, f"{folder}/split={name}")):
            part_folder = f"{folder}/split={name}/part={part}"
            yield read_sorted(self._sources, part_folder, "place", columns, self._scratch)

    def index(self, name: str) -> Iterator[pa.Table]:
        frame = self._tables[name]
        folder = f"{self._work}/{name}"
        frame.write.mode("overwrite").parquet(folder)
        yield read_sorted(self._sources, folder, "index", frame.columns, self._scratch)

    @property
    def _sides(self) -> list[str]:
        return self.definition.sides

    def _readable(self, number: int, source: str, head: Head) -> str:
        """Return where Spark finds a source; its name must tell the compression."""
        if not self._local:
            if not source.endswith(head.compression):
                raise RatingsError(
                    f"{source} is compressed, and Spark tells that from a name alone: it must end"
                    f" with {head.compression}"
                )
            return source
        # Numbered, for `source`; the pip package's Spark has no codec for zstandard.
        folder = self._scratch / "staged"
        folder.mkdir(exist_ok=True)
        unpack = head.compression == ".zst"
        path = folder / f"{number:0{_DIGITS}d}{'' if unpack else head.compression}"
        if is_local(source) and not unpack:
            path.symlink_to(source)
            return str(path)
        with self._sources.open(source) as stream, path.open("wb") as file:
            text = streams.decompressed(stream, streams.ZSTANDARD) if unpack else stream
            shutil.copyfileobj(text, file, streams.BLOCK_BYTES)
        return str(path)

    def _kind(self, head: Head, path: str, source: str) -> _Kind:
        names = head.names
        if head.format == "parquet":
            with _refusing_broken_files(source):
                names = tuple(self._session.read.parquet(path).columns)
        return _Kind(head.format, names, tuple(self._wanted.of(names, source).items()))

    def _raw(self, kind: _Kind, paths: list[str]) -> DataFrame:
        """Return the relation `raw` of files of one kind."""
        fields = dict(kind.fields)
        if kind.format == "parquet":
            given = self._session.read.parquet(*paths)
            return given.select(
                self._source(),
                *self._columns(lambda name: f"cast({_quoted(name)} as string)", fields),
                expr("cast(null as string) as fault"),
                expr("cast(null as string) as line"),
            )
        if kind.format == "csv":
            places = [f"_{place}" for place in range(len(kind.names))]
            schema = StructType([StructField(name, StringType()) for name in (*places, _CORRUPT)])
            given = self._session.read.csv(
                paths, schema=schema, header=True, multiLine=True, escape='"', mode="PERMISSIVE",
                columnNameOfCorruptRecord=_CORRUPT,
            )  # fmt: skip
            place_of = {name: places[kind.names.index(name)] for name in fields.values()}
            return self._judged(
                given.withColumn("line", expr(_CORRUPT)),
                place_of.__getitem__,
                fields,
                WRONG_FIELD_COUNT,
                f"{_CORRUPT} is not null",
            )
        lines = self._session.read.text(paths).select(
            self._source(), expr(f"{self._valid('value')} as line")
        )
        if kind.format == "tsv":
            lines.createOrReplaceTempView("lines")
            return self._session.sql(raw_of_tsv(SPARK, "lines", kind.names, fields, self._sides))
        names = list(dict.fromkeys(fields.values()))
        schema = StructType([StructField(name, StringType()) for name in (*names, _CORRUPT)])
        parsed = lines.where("trim(line) <> ''").withColumn(
            "row", from_json("line", schema, {"columnNameOfCorruptRecord": _CORRUPT})
        )
        return self._judged(
            parsed,
            lambda name: f"row.{_quoted(name)}",
            fields,
            NOT_JSON,
            f"row is null or row.{_CORRUPT} is not null",
        )

    def _judged(
        self,
        rows: DataFrame,
        column: Callable[[str], str],
        fields: Mapping[str, str],
        cause: str,
        faulty: str,
    ) -> DataFrame:
        """Return `raw` of rows of which some are faulty, and then have no fields."""
        return rows.select(
            expr("source") if "source" in rows.columns else self._source(),
            *self._columns(
                lambda name: f"case when not ({faulty}) then {column(name)} end", fields
            ),
            expr(f"case when {faulty} then {SPARK.literal(cause)} end as fault"),
            expr(f"case when {faulty} then line end as line"),
        )

    def _columns(self, column: Callable[[str], str], fields: Mapping[str, str]) -> list[Column]:
        return [
            expr(f"{column(fields[field])} as {field}")
            if field in fields
            else expr(f"cast(null as string) as {field}")
            for field in (*FIELDS, *self._sides)
        ]

    def _source(self) -> Column:
        """Return the object's place among the sources, or its URI."""
        if not self._local:
            return expr("_metadata.file_path as source")
        number = f"regexp_extract(_metadata.file_name, '^([0-9]{{{_DIGITS}}})', 1)"
        return expr(f"cast({number} as int) as source")

    def _valid(self, column: str) -> str:
        """Return text with U+FFFD for what is not UTF-8."""
        if int(self._session.version.partition(".")[0]) >= _VALID_UTF8_SINCE:
            return f"make_valid_utf8({column})"
        return f"decode(cast({column} as binary), 'UTF-8')"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _no_rows(sides: list[str], local: bool) -> StructType:
    source = IntegerType() if local else StringType()
    names = [*FIELDS, *sides, "fault", "line"]
    return StructType(
        [StructField("source", source), *(StructField(name, StringType()) for name in names)]
    )


@contextmanager
def _refusing_broken_files(ratings: str) -> Iterator[None]:
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        if _BROKEN.search(str(error)):
            raise RatingsError(f"Spark cannot read {ratings}: {error}") from error
        raise
