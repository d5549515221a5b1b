"""What the frozen list says: rows left out, addresses to look at, fields to doubt.

How it works: the list goes by once, group by group, as it is frozen. `ListLook` keeps
counts and a few examples, never rows, so its memory does not grow with the list; on the
way it picks the rows whose messages are looked at.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from types import MappingProxyType
from typing import Final

import polars as pl

from engine.address import SENTENCES
from engine.lint.domain import ROLES, scripts, slips
from engine.lint.rule import SHOWN, Example, Finding, Severity
from engine.lint.url import SAFE_CELL

#: What a row's reason has to do with which rule.
_RULE_OF: Final = {
    "address_missing": "L01",
    "key_missing": "L01",
    "address_syntax": "L02",
    "address_quoted": "L02",
    "address_too_long": "L03",
    "address_control": "L04",
    "address_not_ascii": "L05",
    "address_domain": "L06",
    "address_special_use": "L07",
    "same_address": "L10",
    "same_key": "L10",
}
_SUPPRESSED: Final = "L15"
_SAID: Final = {
    **SENTENCES,
    "key_missing": "The recipient's own id is missing.",
    "same_address": "An earlier row has the same address.",
    "same_key": "An earlier row has the same id.",
}
#: Controls but tab and line ends; zero-width characters but the joiners that Persian,
#: Indic scripts and emoji need; marks that turn the direction of what follows.
_ODD: Final = (
    r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F\x{200B}\x{2060}\x{FEFF}"
    r"\x{202A}-\x{202E}\x{2066}-\x{2069}]"
)
_LINE_END: Final = r"[\r\n\x{85}\x{2028}\x{2029}]"
#: The share of empty cells from which an unguarded field is told.
EMPTY_SHARE: Final = 0.01
#: The share of one domain from which it is told, and the rows that make it worth it.
DOMAIN_SHARE: Final = 0.5
_DOMAIN_ROWS: Final = 100
#: A domain below this share of a group is not counted: it cannot be half of the list.
_TOLD_SHARE: Final = 0.01
#: Rows picked by their ids, which are as good as random and always the same.
_RANDOM: Final = 8


@dataclass(slots=True)
class Tally:
    """How many rows, and the first of them."""

    rows: int = 0
    examples: list[Example] = field(default_factory=list)

    def add(self, found: pl.DataFrame, told: str | None = None) -> None:
        """Count rows: row u64, key str, and perhaps a column of what to tell."""
        self.rows += found.height
        for row in found.head(SHOWN - len(self.examples)).iter_rows(named=True):
            said = "" if told is None else str(row[told])
            self.examples.append(Example(row["row"], row["key"], said))


class ListLook:
    """Looks at a frozen list as it goes by.

    Args:
        printed: columns that the templates print without asking whether they are empty;
            None: all.
        in_subject: columns that the subject reads: a line end there fails the row.
        beginnings: columns that a link begins with, and where.
    """

    def __init__(
        self,
        *,
        printed: Collection[str] | None = None,
        in_subject: Collection[str] = (),
        beginnings: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        self._printed = None if printed is None else frozenset(printed)
        self._beginnings = beginnings
        self._unsafe: dict[str, Tally] = {}
        self._in_subject = frozenset(in_subject)
        self._left_out: dict[str, Tally] = {}
        self._suppressed: dict[str, Tally] = {}
        self._odd: dict[str, Tally] = {}
        self._lines: dict[str, Tally] = {}
        self._roles, self._slips, self._mixed = Tally(), Tally(), Tally()
        self._domains: Counter[str] = Counter()
        self._empty: dict[str, Tally] = {}
        self._mailable = 0
        self._picked: dict[str, tuple[float, pl.DataFrame]] = {}
        self._random: pl.DataFrame | None = None

    def add(self, group: pl.DataFrame) -> None:
        """Look at a group of the frozen list: see `engine.snapshot`."""
        left_out = group.filter(pl.col("status").is_not_null())
        for (status, reason), rows in left_out.group_by(
            "status", "reason", maintain_order=True
        ):
            tallies = self._suppressed if status == "suppressed" else self._left_out
            tallies.setdefault(str(reason), Tally()).add(rows)
        mailable = group.filter(pl.col("status").is_null())
        if not mailable.height:
            return
        self._mailable += mailable.height
        self._look_at_addresses(mailable)
        data = mailable["data"].struct.unnest()
        self._look_at_fields(mailable, data)
        self._pick(mailable, data)

    def _look_at_addresses(self, rows: pl.DataFrame) -> None:
        # Who is mailed has one @. Split, it is found in a quarter of the time that
        # regular expressions take.
        halves = pl.col("address").str.to_lowercase().str.split_exact("@", 1)
        known = rows.select(
            "row", "key", halves.struct.rename_fields(["local", "domain"])
        ).unnest("address")
        self._roles.add(known.filter(pl.col("local").is_in(ROLES)), "local")
        domains = known["domain"].value_counts()
        slipped = domains.join(_meant(), on="domain")
        wrong = known.join(slipped, on="domain", maintain_order="left")
        said = pl.format("{}, perhaps {}", "domain", "meant")
        self._slips.add(wrong.with_columns(said=said), "said")
        foreign = domains.filter(pl.col("domain").str.contains("xn--", literal=True))
        mixed = [domain for domain in foreign["domain"] if scripts(domain)]
        self._mixed.add(known.filter(pl.col("domain").is_in(mixed)), "domain")
        least = max(1, int(rows.height * _TOLD_SHARE))
        self._domains.update(dict(domains.filter(pl.col("count") >= least).iter_rows()))

    def _look_at_fields(self, rows: pl.DataFrame, data: pl.DataFrame) -> None:
        for name in data.columns:
            column, known = data[name], rows.select("row", "key")
            is_text = column.dtype == pl.String
            empty = (
                column.is_null() | (column == "").fill_null(value=False)
                if is_text
                else column.is_null()
            )
            if self._printed is None or name in self._printed:
                self._empty.setdefault(name, Tally()).add(known.filter(empty))
            if not is_text:
                continue
            signs = [(self._odd, _is_odd)]
            if name in self._beginnings:
                signs.append((self._unsafe, _is_unsafe))
            if name in self._in_subject:
                signs.append((self._lines, _has_line_end))
            texts = column.unique()  # often a few, and to look at one takes long
            for tallies, sign in signs:
                found = texts.filter(sign(texts))
                told = (
                    known.filter(column.is_in(found)) if len(found) else known.clear()
                )
                tallies.setdefault(name, Tally()).add(told)

    def _pick(self, rows: pl.DataFrame, data: pl.DataFrame) -> None:
        """Keep the rows whose messages tell most."""
        if "first" not in self._picked:
            self._picked["first"] = (0, _copied(rows.head(1)))
        self._picked["last"] = (0, rows.tail(1))
        texts = data.select(pl.col(pl.String).fill_null(""))
        if texts.width:
            self._pick_by_text(rows, texts)
        self._pick_variants(rows.drop_nulls("variant"))
        self._pick_random(rows)

    def _pick_variants(self, rows: pl.DataFrame) -> None:
        """Keep a row of each message that a campaign has."""
        for row in rows.unique("variant", keep="first").iter_slices(1):
            name = f"variant {row['variant'][0]}"
            if name not in self._picked:
                self._picked[name] = (0, _copied(row))

    def _pick_by_text(self, rows: pl.DataFrame, texts: pl.DataFrame) -> None:
        found = texts.select(
            size=pl.sum_horizontal(pl.all().str.len_bytes()),
            empty=pl.sum_horizontal(pl.all() == ""),
        )
        for name in found.columns:
            place = found[name].arg_max() or 0
            self._keep_most(name, found[name][place], rows[place])
        if "wide" in self._picked:
            return
        is_wide = pl.all().str.len_bytes() != pl.all().str.len_chars()
        wide = rows.filter(texts.select(pl.any_horizontal(is_wide)).to_series())
        if wide.height:
            self._picked["wide"] = (0, _copied(wide.head(1)))

    def _pick_random(self, rows: pl.DataFrame) -> None:
        if self._random is not None and self._random.height == _RANDOM:
            rows = rows.filter(pl.col("message_id") < self._random["message_id"].max())
        if not rows.height:
            return
        several = _copied(rows.bottom_k(_RANDOM, by="message_id"))
        if self._random is not None:
            several = pl.concat([self._random, several])
        self._random = several.bottom_k(_RANDOM, by="message_id")

    def _keep_most(self, name: str, much: float, row: pl.DataFrame) -> None:
        if name not in self._picked or self._picked[name][0] < much:
            self._picked[name] = (much, _copied(row))

    def sample(self) -> pl.DataFrame:
        """Return the picked rows, in input order, as the renderer takes them."""
        picked = [row for _, row in self._picked.values()]
        if self._random is not None:
            picked.append(self._random)
        if not picked:
            return pl.DataFrame()
        return pl.concat(picked).unique("row").sort("row")

    def findings(self) -> list[Finding]:
        """Return what was found, in the order of the rules."""
        found = [*self._rows(), *self._addresses(), *self._fields()]
        return sorted(found, key=lambda finding: finding.id)

    def _rows(self) -> Iterator[Finding]:
        for reason, tally in self._left_out.items():
            if (rule := _RULE_OF.get(reason)) is not None:
                told = _SAID[reason].rstrip(".")
                yield _of(rule, f"{_rows(tally)}: {told}", tally, Severity.ROW)
        for reason, tally in self._suppressed.items():
            told = f"{_rows(tally)}: suppressed, {reason}"
            yield _of(_SUPPRESSED, told, tally, Severity.ROW)

    def _addresses(self) -> Iterator[Finding]:
        if self._mixed.rows:
            told = f"{_rows(self._mixed)} at domains that mix alphabets"
            yield _of("L06", told, self._mixed)
        if self._roles.rows:
            told = f"{_rows(self._roles)} of a role, not a person"
            yield _of("L08", told, self._roles)
        if self._slips.rows:
            told = f"{_rows(self._slips)} at what may be a slip of the keyboard"
            yield _of("L09", told, self._slips)
        for domain, rows in self._domains.most_common(1):
            share = rows / self._mailable
            if self._mailable >= _DOMAIN_ROWS and share > DOMAIN_SHARE:
                yield Finding.of("L17", f"{share:.0%} of the list is at {domain}")

    def _fields(self) -> Iterator[Finding]:
        for name, tally in self._odd.items():
            if tally.rows:
                told = (
                    f"{_rows(tally)} with a control, zero-width or direction character "
                    f'in "{name}"'
                )
                yield _of("L04", told, tally)
        for name, tally in self._lines.items():
            if tally.rows:
                told = (
                    f'{_rows(tally)} with a line end in "{name}", which the subject '
                    "reads: they may fail"
                )
                yield _of("L04", told, tally)
        for name, tally in self._unsafe.items():
            if tally.rows:
                told = (
                    f'{self._beginnings[name]}: a link begins with "{name}", which is '
                    f"no address of the web in {_rows(tally)}"
                )
                yield _of("L33", told, tally)
        for name, tally in self._empty.items():
            if tally.rows > EMPTY_SHARE * self._mailable:
                share = tally.rows / self._mailable
                told = f'"{name}" is empty in {share:.0%} of the rows'
                yield _of("L13", told, tally)


def _is_odd(texts: pl.Series) -> pl.Series:
    return texts.str.contains(_ODD)


def _is_unsafe(texts: pl.Series) -> pl.Series:
    return ~texts.str.contains(SAFE_CELL)


def _has_line_end(texts: pl.Series) -> pl.Series:
    return texts.str.strip_chars().str.contains(_LINE_END)


@cache
def _meant() -> pl.DataFrame:
    """Return the slips of well-known domains: domain str, unique; meant str."""
    table = slips()
    return pl.DataFrame({"domain": list(table), "meant": list(table.values())})


def _copied(rows: pl.DataFrame) -> pl.DataFrame:
    """Copy a few rows out of their group: it would stay in memory for their sake."""
    file = BytesIO()
    rows.write_ipc(file)
    return pl.read_ipc(file.getvalue())


def _of(
    rule: str, text: str, tally: Tally, severity: Severity | None = None
) -> Finding:
    return Finding.of(rule, text, tally.examples, rows=tally.rows, severity=severity)


def _rows(tally: Tally) -> str:
    return f"{tally.rows:,} row{'' if tally.rows == 1 else 's'}"
