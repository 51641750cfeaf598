"""The relation `raw` out of lines of text, in SQL: for engines that read lines and no more.

DuckDB is fed by `ratings`; Spark and Athena read TSV by this. A line is cut at every tab, and one
with another number of fields than the header is a fault. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matinee.workflow.definition import FIELDS
from matinee.workflow.dialects import Dialect
from matinee.workflow.malformed import WRONG_FIELD_COUNT

_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"


def raw_of_tsv(
    dialect: Dialect,
    lines: str,
    names: Sequence[str],
    fields: Mapping[str, str],
    sides: Sequence[str],
) -> str:
    """Return the query of `raw`, as `Definition.checked` takes it.

    Parameters
    ----------
    dialect : Dialect
    lines : str
        A relation: `source` and `line`, without its end.
    names : sequence of str
        The columns in the header.
    fields : mapping
        Field, or what a side column is called here, to column.
    sides : sequence of str
        What the side columns are called here.
    """
    header = "\t".join(names)
    headers = ", ".join(map(dialect.literal, (header, _BYTE_ORDER_MARK + header)))
    fits = f"width = {len(names)}"

    def column(field: str) -> str:
        if field not in fields:
            return f"cast(null as {dialect.text}) as {field}"
        place = dialect.field("fields", names.index(fields[field]) + 1)
        return f"case when {fits} then {place} end as {field}"

    # Of a source's lines that are its header to the letter, one is its header.
    return f"""
        select source, {", ".join(map(column, (*FIELDS, *sides)))},
            case when not ({fits}) then {dialect.literal(WRONG_FIELD_COUNT)} end as fault,
            case when not ({fits}) then line end as line
        from (select source, line, fields, {dialect.size("fields")} as width
            from (select source, line, {dialect.fields("line")} as fields
                from (select source, line
                    from (select source, line, row_number() over (
                            partition by source order by line) as place
                        from {lines} as given where line in ({headers})) as headers
                    where place > 1
                    union all
                    select source, line from {lines} as given
                    where line <> '' and line not in ({headers})
                ) as counted
            ) as cut
        ) as measured"""
