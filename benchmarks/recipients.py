"""The list that the benchmarks mail: any number of rows, the same in every run.

Every column is a function of the row's position, so a list needs no seed and a longer
one begins with the rows of a shorter one. Names and titles hold what real lists hold:
letters beyond ASCII, an apostrophe, an ampersand. All values read the same from CSV and
from Parquet.
"""

import argparse
from pathlib import Path

import polars as pl

FIRST_NAMES = (
    "ada", "amélie", "björn", "conor", "d'arcy", "eszter", "fatima", "giulia",
    "hanna", "ines", "jürgen", "kofi", "lucía", "łukasz", "mei", "noor", "zoë",
)  # fmt: skip
CITIES = (
    "Aarhus", "Brest", "Cádiz", "Gdańsk", "Genova", "Hamburg", "Malmö", "Ostend",
    "Porto", "Rotterdam", "Trieste",
)  # fmt: skip
BOOKS = (
    "Moby-Dick", "The Sea, the Sea", "Two Years Before the Mast", "The Odyssey",
    "Swallows & Amazons", "Sailing Alone Around the World", "To the Lighthouse",
)  # fmt: skip
TIERS = ("gold", "silver", "blue")


def build_recipients(rows: int) -> pl.DataFrame:
    """Make a list of `rows` recipients.

    Returns:
        One row per recipient. Columns: email str, unique; first_name, city, tier and
        book str; points i64.
    """

    def cycle(values: tuple[str, ...], name: str) -> pl.Expr:
        place = pl.col("row") % len(values)
        return pl.lit(pl.Series(values)).gather(place).alias(name)

    address = pl.format("reader{}@list{}.example", "row", pl.col("row") % 977)
    return pl.select(row=pl.int_range(rows, dtype=pl.Int64)).select(
        address.alias("email"),
        cycle(FIRST_NAMES, "first_name"),
        cycle(CITIES, "city"),
        cycle(TIERS, "tier"),
        cycle(BOOKS, "book"),
        points=pl.col("row") * 7 % 1500,
    )


def write_recipients(rows: int, out: Path) -> None:
    """Write a list of `rows` recipients: CSV if `out` ends so, Parquet otherwise."""
    frame = build_recipients(rows)
    if out.suffix == ".csv":
        frame.write_csv(out)
    else:
        frame.write_parquet(out)


def main() -> None:
    """Read the command line and write one list."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipients")
    parser.add_argument("rows", type=int)
    parser.add_argument("out", type=Path, help="ends in .csv or .parquet")
    options = parser.parse_args()
    write_recipients(options.rows, options.out)


if __name__ == "__main__":
    main()
