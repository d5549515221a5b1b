"""A messy list: what people, forms, exports and attackers put into one.

Plain Python, and nothing of `engine`. The same seed gives the same rows.
"""

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

#: Rows whose message no request has room for: they take 10 MB each, so a few.
HUGE_ROWS = 2
HUGE = "x" * 10_500_000
#: What is suppressed, by how it is entered: an address, and its scope.
SCOPES = ("all", "campaign:messy", "list:messy", "campaign:other", "list:other")


class Row(NamedTuple):
    """One row of the list; None is a null."""

    id: str | None
    email: str | None
    name: str | None
    note: str | None
    share: str | None


class Messy:
    """Makes the rows of one list.

    Args:
        seed: the same seed gives the same rows.
        count: how many rows.
    """

    def __init__(self, seed: int, count: int) -> None:
        self._lots = random.Random(seed)
        self._count = count
        self._kinds: list[tuple[int, Callable[[int], Row]]] = [
            (700, self._good),
            (40, self._bad_address),
            (40, self._spelt_otherwise),
            (25, self._same_key),
            (20, self._no_key),
            (30, self._injected),
            (40, self._foreign),
            (10, self._foreign_domain),
            (15, self._breaks_the_template),
            (5, self._bomb),
            (60, self._suppressed),
            (10, self._refused),
            (15, self._odd_space),
        ]
        self._earlier: list[Row] = []

    def rows(self) -> Iterator[Row]:
        """Yield the rows in their order."""
        weights = [weight for weight, _ in self._kinds]
        makers = [maker for _, maker in self._kinds]
        huge = {self._lots.randrange(self._count) for _ in range(HUGE_ROWS)}
        for number in range(self._count):
            make = (
                self._huge if number in huge else self._lots.choices(makers, weights)[0]
            )
            row = make(number)
            if len(self._earlier) < 5000:
                self._earlier.append(row)
            else:
                self._earlier[self._lots.randrange(5000)] = row
            yield row

    def suppressed(self) -> Iterator[tuple[str, str]]:
        """Yield who is suppressed, and the scope; some as others would write them."""
        for number in range(200):
            scope = SCOPES[number % len(SCOPES)]
            address = f"left{number}@inbox.example"
            yield (address.upper() if number % 3 else address), scope
        yield "Left900@BÜCHER.example", "all"

    def _good(self, number: int) -> Row:
        name = self._lots.choice(["Ann", "Bob Õ", "Łukasz", "O'Neil", "周杰", ""])
        return Row(f"k{number}", f"u{number}@inbox.example", name, "hello", "4")

    def _bad_address(self, number: int) -> Row:
        row = self._good(number)
        bad = self._lots.choice(BAD)
        return row._replace(
            email=None if bad is None else bad.replace("#", f"{number}")
        )

    def _spelt_otherwise(self, number: int) -> Row:
        row, earlier = self._good(number), self._some_earlier(number)
        email = earlier.email or ""
        spell = self._lots.choice(
            [str.upper, str.title, str.swapcase, lambda text: f"  {text}\t", str.lower]
        )
        return row._replace(email=spell(email))

    def _same_key(self, number: int) -> Row:
        earlier = self._some_earlier(number)
        key = self._lots.choice(
            [earlier.id, f" {earlier.id} ", f"{earlier.id}".upper()]
        )
        return self._good(number)._replace(id=key)

    def _no_key(self, number: int) -> Row:
        return self._good(number)._replace(id=self._lots.choice([None, "", "  "]))

    def _injected(self, number: int) -> Row:
        mark = self._lots.choice(["\r\n", "\n", "\r", "\x00", "\x0b", "\x85", "\u2028"])
        name = self._lots.choice(
            [f"A{mark}Bcc: evil@a.example", f"A{mark}", f"{mark}A"]
        )
        return self._good(number)._replace(name=name, note="<script>alert(1)</script>")

    def _foreign(self, number: int) -> Row:
        name = self._lots.choice(["Ζωή", "Мария", "محمد", "नमस्ते", "🐟", "e\u0301", "ﬁ"])
        return self._good(number)._replace(name=name, note=name * 3)

    def _foreign_domain(self, number: int) -> Row:
        domain = self._lots.choice(DOMAINS)
        return self._good(number)._replace(email=f"u{number}@{domain}")

    def _breaks_the_template(self, number: int) -> Row:
        share = self._lots.choice(["0", "00", "", None, "zero"])
        return self._good(number)._replace(share=share)

    def _bomb(self, number: int) -> Row:
        return self._good(number)._replace(note="bomb", share="900000000")

    def _suppressed(self, number: int) -> Row:
        who = self._lots.randrange(250)
        email = self._lots.choice(
            [f"left{who}@inbox.example", f"LEFT{who}@INBOX.example", LEFT_ABROAD]
        )
        return self._good(number)._replace(email=email)

    def _refused(self, number: int) -> Row:
        return self._good(number)._replace(email=f"reject{number}@inbox.example")

    def _odd_space(self, number: int) -> Row:
        row = self._good(number)
        white = self._lots.choice([" ", "\t", "\u00a0", "\u3000", "\n"])
        return row._replace(email=f"{white}{row.email}{white}", name=f" {row.name} ")

    def _huge(self, number: int) -> Row:
        return self._good(number)._replace(note=HUGE)

    def _some_earlier(self, number: int) -> Row:
        return self._lots.choice(self._earlier) if self._earlier else self._good(number)


LEFT_ABROAD = "left900@xn--bcher-kva.example"
DOMAINS = [
    "bücher.example",
    "BÜCHER.example",
    "xn--bcher-kva.example",
    "пример.example",
    "例え.example",
    "bu\u0308cher.example",
    "ab\u0378.example",
    "x.💌.example",
]
#: Addresses that are none; `#` is the row's number.
BAD = [
    None,
    "",
    "   ",
    "nobody",
    "@inbox.example",
    "u#@",
    "u#@localhost",
    "u#@@inbox.example",
    "u#@in box.example",
    "u #@inbox.example",
    "u#@inbox..example",
    "u#@.inbox.example",
    "u#@inbox.example.",
    "u#@-inbox.example",
    "u#@inbox-.example",
    "u#@in_box.example",
    "u#@10.0.0.1",
    "u#@[10.0.0.1]",
    ".u#@inbox.example",
    "u#.@inbox.example",
    "u..#@inbox.example",
    "u#,v#@inbox.example",
    "u#@inbox.example, v#@inbox.example",
    "u#@inbox.example;v#@inbox.example",
    "Ann <u#@inbox.example>",
    "<u#@inbox.example>",
    '"u #"@inbox.example',
    '"u#"@inbox.example',
    "mailto:u#@inbox.example",
    "u#@inbox.example\r\nBcc: v@inbox.example",
    "u#\x00@inbox.example",
    "u#\u200b@inbox.example",
    "u#\u202e@inbox.example",
    "u#@in\u00adbox.example",
    "ü#@inbox.example",
    "周#@inbox.example",
    f"{'u' * 65}@inbox.example",
    f"u#@{'d' * 64}.example",
    f"u#@{'.'.join(['d' * 60] * 5)}.example",
    "u#(home)@inbox.example",
    "u#@inbox.example ?subject=x",
    "=cmd()|'/c calc'!A#",
]
