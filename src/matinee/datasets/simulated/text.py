"""Simulated reviews as text: rows into lines of Amazon Customer Reviews TSV.

The words are made up, of syllables; what a line says of its row is decided by the row's number
alone. As in Amazon's files a headline may open a quote that it does not close.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from matinee.datasets.movielens import COLUMNS
from matinee.datasets.simulated.hashing import Uint64s, below, mixed
from matinee.datasets.simulated.population import Kind, Population, Rows

HEADER: Final = ("\t".join(COLUMNS) + "\n").encode()
MARKETPLACE: Final = "simulated"
CATEGORY: Final = "Digital_Video_Download"

_FIRST_DAY: Final = np.datetime64("2005-01-01")
_DAYS: Final = 3_895  # to 2015-08-31, the last day of the published data

# Four decimal digits, and two of base 32, as the bytes of one number.
_DECIMALS: Final = np.array([b"%04d" % number for number in range(10_000)]).view("<u4")
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUV"
_BASE_32: Final = np.array(
    [(first + second).encode() for first in _ALPHABET for second in _ALPHABET]
).view("<u2")
# An odd factor permutes the numbers of 40 bits, so that videos' ids tell nothing of their order.
_VIDEO_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15 % 2**40)
_VIDEO_MASK: Final = np.uint64(2**40 - 1)

_WORDS: Final = 4_096
_SENTENCES: Final = 2**16
_HEADLINES: Final = 2**13
_QUOTE_EVERY: Final = 2**11
_VOTES: Final = 2**12
_CONSONANTS: Final = "bcdfghjklmnprstvwz"
_VOWELS: Final = "aeiou"
_NUMBERS: Final = ("one", "two", "three", "four", "five")


class Writer:
    """Writes rows of a population as lines.

    Parameters
    ----------
    population : Population
        Its text key decides the words.
    """

    def __init__(self, population: Population) -> None:
        self._population = population
        customer_groups = _digit_groups(population.customers.count)
        self._first_customer = np.uint64(10 ** (4 * customer_groups - 1))
        self._front = _front(customer_groups, _digit_groups(population.videos.count))
        rng = np.random.default_rng(population.text_key)
        words = _words(rng)
        headlines = _sentences(words, 3, _HEADLINES, rng)
        headlines[::_QUOTE_EVERY] = [f'"{headline}' for headline in headlines[::_QUOTE_EVERY]]
        self._headlines = pa.array([f"{headline}\t" for headline in headlines])
        sentences = _sentences(words, 12, _SENTENCES, rng)
        self._first_sentences = pa.array([f"{sentence}. " for sentence in sentences])
        self._last_sentences = pa.array([f"{sentence}." for sentence in sentences])
        self._votes = pa.array(_votes(rng))
        days = np.datetime_as_string(_FIRST_DAY + np.arange(_DAYS))
        self._dates = pa.array([f"\t{day}\n" for day in days])

    def lines(self, rows: Rows) -> memoryview:
        """Return the rows as UTF-8 text, a line each."""
        key = self._population.text_key
        first, second = mixed(rows.numbers, key + 1), mixed(rows.numbers, key + 2)
        # The later of two days, as reviews became more and more with the years.
        late = np.maximum(below(first, _DAYS), below(first << np.uint64(32), _DAYS))
        lines = pc.binary_join_element_wise(
            self._fronts(rows, mixed(rows.numbers, key)),
            self._votes.take(pa.array(second & np.uint64(_VOTES - 1))),
            self._headlines.take(pa.array(second >> np.uint64(12) & np.uint64(_HEADLINES - 1))),
            self._first_sentences.take(
                pa.array(second >> np.uint64(25) & np.uint64(_SENTENCES - 1))
            ),
            self._last_sentences.take(
                pa.array(second >> np.uint64(41) & np.uint64(_SENTENCES - 1))
            ),
            self._dates.take(pa.array(late)),
            "",
        )
        broken = rows.kinds > Kind.DUPLICATE
        if broken.any():
            replaced = [
                _broken(lines[int(row)].as_py(), Kind(int(rows.kinds[row])), int(rows.numbers[row]))
                for row in np.flatnonzero(broken)
            ]
            lines = pc.replace_with_mask(lines, pa.array(broken), pa.array(replaced, pa.string()))
        _, offsets, text = lines.buffers()
        ends = np.frombuffer(offsets, np.int32)
        return memoryview(text)[int(ends[lines.offset]) : int(ends[lines.offset + len(lines)])]

    def _fronts(self, rows: Rows, reviews: Uint64s) -> pa.StringArray:
        """Return the columns up to the stars, which are of one width."""
        population = self._population
        width = self._front.itemsize
        fronts = np.empty((len(rows.numbers), width), np.uint8)
        fronts[:] = self._front.view(np.uint8)
        fields = fronts.view(self._front.dtype).reshape(-1)
        videos = population.video_names(rows.videos).astype(np.uint64)
        customers = population.customer_names(rows.customers).astype(np.uint64)
        _put(fields, "customer", customers + self._first_customer, _DECIMALS)
        _put(fields, "review", reviews, _BASE_32)
        _put(fields, "video", videos * _VIDEO_FACTOR & _VIDEO_MASK, _BASE_32)
        _put(fields, "parent", videos, _DECIMALS)
        _put(fields, "title", videos, _DECIMALS)
        fields["stars"] = rows.stars + ord("0")
        offsets = np.arange(0, fronts.size + 1, width, dtype=np.int32)
        return pa.StringArray.from_buffers(
            len(fronts), pa.py_buffer(offsets), pa.py_buffer(fronts.reshape(-1))
        )


def _digit_groups(count: int) -> int:
    """Return how many groups of four digits can number so many, with room to begin with 1."""
    return max(2, -(-len(str(10 * count)) // 4))


def _front(customer_groups: int, video_groups: int) -> NDArray[np.void]:
    """Return a row's columns up to the stars, of shape (1,); open are the fields of digits."""
    parts: dict[str, bytes | str] = {
        "marketplace": f"{MARKETPLACE}\t".encode(),
        **{f"customer {group}": "u4" for group in range(customer_groups)},
        "before review": b"\tR",
        **{f"review {group}": "u2" for group in range(7)},
        "before video": b"\tB0",
        **{f"video {group}": "u2" for group in range(4)},
        "before parent": b"\t1",
        **{f"parent {group}": "u4" for group in range(video_groups)},
        "before title": b"\tSimulated Video ",
        **{f"title {group}": "u4" for group in range(video_groups)},
        "category": f"\t{CATEGORY}\t".encode(),
        "stars": "u1",
        "after stars": b"\t",
    }
    layout = [
        (name, part if isinstance(part, str) else f"V{len(part)}") for name, part in parts.items()
    ]
    front = np.zeros(1, layout)
    for name, part in parts.items():
        if isinstance(part, bytes):
            front[name] = np.void(part)
    return front


def _put(
    fields: NDArray[np.void], name: str, numbers: Uint64s, digits: NDArray[np.unsignedinteger[Any]]
) -> None:
    """Write numbers into the fields of a name, as many digits at a time as a table has."""
    groups = [field for field in fields.dtype.names or () if field.rpartition(" ")[0] == name]
    base = np.uint64(len(digits))
    for field in reversed(groups):
        rest = numbers // base
        fields[field] = digits[(numbers - rest * base).astype(np.int64)]
        numbers = rest


def _words(rng: np.random.Generator) -> NDArray[np.str_]:
    syllables = [consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS]
    drawn = rng.choice(syllables, (_WORDS, 4))
    lengths = rng.choice([1, 2, 3, 4], _WORDS, p=[0.2, 0.45, 0.25, 0.1])
    return np.array(["".join(word[:length]) for word, length in zip(drawn, lengths, strict=True)])


def _sentences(
    words: NDArray[np.str_], mean: int, count: int, rng: np.random.Generator
) -> list[str]:
    """Return sentences of a word or more; frequent words are as frequent as Zipf's law has it."""
    lengths = rng.geometric(1 / mean, count)
    weights = 1 / np.arange(2, len(words) + 2)
    drawn = rng.choice(words, int(lengths.sum()), p=weights / weights.sum()).tolist()
    stops = np.cumsum(lengths).tolist()
    starts = [0, *stops[:-1]]
    return [
        " ".join(drawn[start:stop]).capitalize() for start, stop in zip(starts, stops, strict=True)
    ]


def _votes(rng: np.random.Generator) -> list[str]:
    """Return the columns of helpful votes, all votes, Vine and verified purchase."""
    totals = rng.geometric(0.55, _VOTES) - 1
    helpful = rng.binomial(totals, 0.6)
    verified = rng.choice(["Y", "N"], _VOTES, p=[0.8, 0.2])
    return [
        f"{some}\t{total}\tN\t{bought}\t"
        for some, total, bought in zip(helpful, totals, verified, strict=True)
    ]


def _broken(line: str, kind: Kind, number: int) -> str:
    """Return a line with what makes it malformed."""
    fields = line.split("\t")
    stars = fields[COLUMNS.index("star_rating")]
    if kind is Kind.EXTRA_FIELD:
        fields[COLUMNS.index("review_body")] += "\tand more"
    elif kind is Kind.MISSING_FIELDS:
        fields = [*fields[: COLUMNS.index("review_headline")], "cut off\n"]
    elif kind is Kind.BLANK_CUSTOMER:
        fields[COLUMNS.index("customer_id")] = ""
    elif kind is Kind.BLANK_VIDEO:
        fields[COLUMNS.index("product_id")] = ""
    elif kind is Kind.BLANK_STARS:
        fields[COLUMNS.index("star_rating")] = ""
    elif kind is Kind.STARS_IN_WORDS:
        fields[COLUMNS.index("star_rating")] = _NUMBERS[int(stars) - 1]
    else:
        fields[COLUMNS.index("star_rating")] = "0" if number % 2 else str(5 + int(stars))
    return "\t".join(fields)
