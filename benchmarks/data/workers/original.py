"""The published example's way from reviews to records, by its description; our own words.

pandas reads all 15 columns and keeps four; filters are counts and merges; the two features of a
rating become a `lil_matrix`, and the SageMaker SDK writes it row by row. Two things are mended, as
without them it ends in an error on data with an open quote or stars in words: quotes mean nothing,
and stars that are no number are dropped.

    python -m benchmarks.data.workers.original REVIEWS FOLDER ANSWER
"""

import csv
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sagemaker.amazon.common import write_spmatrix_to_sparse_tensor
from scipy.sparse import lil_matrix

SEED = 1
TEST_CHUNK_ROWS = 10_000
KEPT = ["customer_id", "product_id", "star_rating", "product_title"]
CUSTOMER_LEAST, PRODUCT_LEAST = 5, 10


def clean(reviews: Path) -> pd.DataFrame:
    """Read the reviews; keep four columns and the rows of active customers and rated products."""
    frame = pd.read_csv(reviews, sep="\t", on_bad_lines="skip", quoting=csv.QUOTE_NONE)[KEPT]
    frame["star_rating"] = pd.to_numeric(frame["star_rating"], errors="coerce")
    frame = frame.dropna(subset=KEPT[:3])
    customers, products = (frame[column].value_counts() for column in KEPT[:2])
    customers, products = (
        customers[customers >= CUSTOMER_LEAST],
        products[products >= PRODUCT_LEAST],
    )
    frame = frame.merge(pd.DataFrame({"customer_id": customers.index}))
    frame = frame.merge(pd.DataFrame({"product_id": products.index}))
    return frame.drop_duplicates(["customer_id", "product_id"])


def index(frame: pd.DataFrame) -> tuple[pd.DataFrame, int, int]:
    """Number customers and products from 0; return customer, product, stars, and how many."""
    numbered = frame
    counts = []
    for column in KEPT[:2]:
        ids = frame[column].value_counts().index
        table = pd.DataFrame({column: ids, column.removesuffix("_id"): np.arange(len(ids))})
        numbered = numbered.merge(table)
        counts.append(len(ids))
    return numbered[["customer", "product", "star_rating"]], counts[0], counts[1]


def split(ratings: pd.DataFrame, folder: Path) -> list[Path]:
    """Shuffle, cut 60/20/20, and write three CSV files."""
    shuffled = ratings.sample(frac=1, random_state=SEED)
    bounds = [int(0.6 * len(shuffled)), int(0.8 * len(shuffled))]
    names = ("train", "validate", "test")
    paths = [folder / f"{name}.csv" for name in names]
    starts, stops = [0, *bounds], [*bounds, len(shuffled)]
    for path, start, stop in zip(paths, starts, stops, strict=True):
        shuffled.iloc[start:stop].to_csv(path, index=False)
    return paths


def encode(path: Path, customers: int, products: int, spent: dict[str, float]) -> int:
    """Write a split as RecordIO-protobuf, the test split in chunks; return its rows."""
    ratings = pd.read_csv(path)
    began = time.perf_counter()
    features = lil_matrix((len(ratings), customers + products), dtype="float32")
    rows = np.arange(len(ratings))
    features[rows, ratings["customer"].to_numpy()] = 1
    features[rows, customers + ratings["product"].to_numpy()] = 1
    stars = ratings["star_rating"].to_numpy().astype("float32")
    spent["lil_matrix"] += time.perf_counter() - began
    chunk = TEST_CHUNK_ROWS if path.stem == "test" else len(ratings)
    began = time.perf_counter()
    for number, start in enumerate(range(0, len(ratings), chunk)):
        part = slice(start, start + chunk)
        with path.with_name(f"{path.stem}_{number}.protobuf").open("wb") as file:
            write_spmatrix_to_sparse_tensor(file, features[part], stars[part])
    spent["the SDK's writer"] += time.perf_counter() - began
    return len(ratings)


def main() -> None:
    """Go the whole way; write the rows of each split and the seconds of each step."""
    reviews, folder, answer = map(Path, sys.argv[1:])
    spent: dict[str, float] = {}
    began = time.perf_counter()
    frame = clean(reviews)
    spent["reading and filtering"] = time.perf_counter() - began
    began = time.perf_counter()
    ratings, customers, products = index(frame)
    paths = split(ratings, folder)
    spent["numbering and splitting"] = time.perf_counter() - began
    del frame, ratings
    spent |= {"lil_matrix": 0.0, "the SDK's writer": 0.0}
    rows = {path.stem: encode(path, customers, products, spent) for path in paths}
    answer.write_text(json.dumps({"ratings": sum(rows.values()), "seconds": spent}))


if __name__ == "__main__":
    main()
