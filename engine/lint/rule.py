"""The rules: what each is called, how bad it is, where it is looked at, what to do.

`RULES` is the one table of them. The command line lists it, a finding takes its fix
from it, and the tests hold that each of its ids is tested.

Three severities. An *error* refuses the plan, unless the user allows the rule by its
id. A *warning* is told. A *row* rule leaves single rows out, each with its own status
and reason in the results; the plan goes on without them.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"
    WARNING = "warning"
    ROW = "row"


class Where(StrEnum):
    """What is looked at."""

    READING = "the list, as it is read"
    LIST = "the list, as it is frozen"
    CAMPAIGN = "the campaign file"
    TEMPLATE = "the templates"
    MESSAGE = "messages of sample rows"
    RUN = "the run and those before it"
    ONLINE = "the domain name system, with --online"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        id: `L` and two digits; what `--allow` takes.
        severity: how bad it is, unless a finding says otherwise.
        where: what is looked at.
        title: what it is about.
        fix: what to do.
    """

    id: str
    severity: Severity
    where: Where
    title: str
    fix: str


_E, _W, _R = Severity.ERROR, Severity.WARNING, Severity.ROW
_SECTION: Final = 'write an [unsubscribe] section with url = "https://…"'

_RULES: Final = (
    # ---- the list
    Rule(
        "L01",
        _R,
        Where.LIST,
        "the address or the recipient's own id is missing",
        "complete the rows, or take them out of the list",
    ),
    Rule(
        "L02",
        _R,
        Where.LIST,
        "the address is not of the form name@example.com",
        "correct the addresses at their source",
    ),
    Rule(
        "L03",
        _R,
        Where.LIST,
        "the address is longer than mail allows",
        "correct the addresses at their source",
    ),
    Rule(
        "L04",
        _W,
        Where.LIST,
        "a control, zero-width or direction character, in an address or a merged field",
        "clean the column at its source; in an address it leaves the row out",
    ),
    Rule(
        "L05",
        _R,
        Where.LIST,
        "letters beyond ASCII before the @, which no provider here can deliver to",
        "ask these people for another address",
    ),
    Rule(
        "L06",
        _W,
        Where.LIST,
        "a domain that cannot exist, or that mixes alphabets to look like another",
        "compare the domains with those that the people gave you",
    ),
    Rule(
        "L07",
        _R,
        Where.LIST,
        "a domain set aside for examples and tests",
        "take test rows out of the list before you send to a real provider",
    ),
    Rule(
        "L08",
        _W,
        Where.LIST,
        "addresses of a role, not of a person",
        "see whether somebody there asked for the mail; such addresses complain most",
    ),
    Rule(
        "L09",
        _W,
        Where.LIST,
        "domains that look like a slip of the keyboard",
        "correct the addresses at their source",
    ),
    Rule(
        "L10",
        _R,
        Where.LIST,
        "a second row for the same address or the same id",
        "nothing: the first row of each is mailed",
    ),
    Rule(
        "L11",
        _E,
        Where.READING,
        "two columns of the same name",
        "rename one of the columns",
    ),
    Rule(
        "L12",
        _E,
        Where.READING,
        "a cell is not of its column's declared type",
        "correct the cell, or [recipients.types]; undeclared columns stay text",
    ),
    Rule(
        "L13",
        _W,
        Where.LIST,
        "a merge field is often empty, and the templates do not provide for it",
        'write {% if name %}…{% endif %} or {{ name|default("…", true) }}',
    ),
    Rule(
        "L14",
        _W,
        Where.RUN,
        "the audience is not of the expected size; an error where [expect] or "
        "--max-recipients says which",
        "look whether the list is the right one; else mend [expect] in the campaign",
    ),
    Rule(
        "L15",
        _R,
        Where.LIST,
        "suppressed, or left out by the campaign: they are not to be mailed",
        "nothing: they are left out",
    ),
    Rule(
        "L16",
        _E,
        Where.READING,
        "the file is cut off, or its rows differ in width",
        "export the list again",
    ),
    Rule(
        "L17",
        _W,
        Where.LIST,
        "most of the list is at one domain",
        "see that the list is what you think; slow down for that domain",
    ),
    # ---- templates and messages
    Rule(
        "L20",
        _E,
        Where.MESSAGE,
        "marketing mail without one-click unsubscribe (RFC 8058)",
        _SECTION,
    ),
    Rule(
        "L21",
        _E,
        Where.MESSAGE,
        "the way to unsubscribe is not https",
        "give [unsubscribe] url an https:// address",
    ),
    Rule(
        "L22",
        _E,
        Where.MESSAGE,
        "the link to unsubscribe is the same for two recipients",
        "link to {{ unsubscribe_url }}, which is each recipient's own",
    ),
    Rule(
        "L23",
        _E,
        Where.MESSAGE,
        "the link to unsubscribe can be guessed: it bears no signature",
        "link to {{ unsubscribe_url }}, which is signed and holds no address",
    ),
    Rule(
        "L24",
        _E,
        Where.MESSAGE,
        "marketing mail without a link to unsubscribe that can be seen",
        f"put a link to {{{{ unsubscribe_url }}}} into each body; {_SECTION}",
    ),
    Rule(
        "L25",
        _E,
        Where.MESSAGE,
        "marketing mail without a postal address",
        "write [message] postal_address, and {{ campaign.postal_address }} in each "
        "body",
    ),
    Rule(
        "L26",
        _W,
        Where.MESSAGE,
        'a subject that pretends ("Re:") or shouts',
        "write a plain subject",
    ),
    Rule(
        "L27",
        _W,
        Where.MESSAGE,
        "rows that cannot be rendered",
        "mend the template or the row: it would end as render_failed",
    ),
    Rule(
        "L28",
        _E,
        Where.MESSAGE,
        "braces of a template in what recipients read",
        "mend the template, or the cell that holds them",
    ),
    Rule(
        "L29",
        _W,
        Where.MESSAGE,
        "no text part, or larger than inboxes and providers take",
        "write [message] text; shorten the HTML to under 102 kB",
    ),
    Rule(
        "L33",
        _E,
        Where.TEMPLATE,
        "a value stands where escaping does not protect: it could become code",
        'put values into text and quoted attributes; begin links with "https://…"',
    ),
    Rule(
        "L34",
        _E,
        Where.MESSAGE,
        "the same row gives another message each time",
        "take out what draws lots or reads a clock",
    ),
    Rule(
        "L35",
        _W,
        Where.MESSAGE,
        "links and pictures without https, or a link that shows another domain",
        "write https://, and show the domain that the link leads to",
    ),
    # ---- sender and run
    Rule(
        "L30",
        _E,
        Where.ONLINE,
        "the domain of [message] from is not one that the provider has verified",
        "verify the domain with the provider, or send from one that is",
    ),
    Rule(
        "L31",
        _W,
        Where.ONLINE,
        "SPF, DKIM or DMARC is missing or not aligned",
        "publish the records that the provider names for your domain",
    ),
    Rule(
        "L32",
        _E,
        Where.CAMPAIGN,
        "an address of the sender is not well formed",
        'write "Name <address@domain>"',
    ),
    Rule(
        "L40",
        _E,
        Where.CAMPAIGN,
        "what looks like a secret stands in the campaign or a template",
        'keep it in the environment or a file: token = { env = "NAME" }',
    ),
    Rule(
        "L41",
        _W,
        Where.RUN,
        "nothing has been heard for a day of those who said no",
        "run `mailvolley events serve`, or `mailvolley track` before you send",
    ),
    Rule(
        "L42",
        _E,
        Where.RUN,
        "the disk has too little room for the run",
        "make room, or keep the runs elsewhere with --runs-dir",
    ),
    Rule(
        "L43",
        _E,
        Where.RUN,
        "it is later than `start_by`",
        "see whether the mail still makes sense, then move `start_by`",
    ),
    Rule(
        "L44",
        _W,
        Where.RUN,
        "new templates go to the whole list at once",
        "write a [canary] section, or send to a few first: --limit 100",
    ),
    Rule(
        "L45",
        _W,
        Where.RUN,
        "the provider forgets a request sooner than a stop and a resume take",
        "resume soon after a stop, or stop with a shorter --drain",
    ),
    Rule(
        "L46",
        _W,
        Where.RUN,
        "the suppression list that the provider keeps was not fetched for a day",
        "run `mailvolley suppress fetch CAMPAIGN.toml` before you send: one address on "
        "it fails a whole message",
    ),
)
#: Every rule by its id, in the order of the ids.
RULES: Final[Mapping[str, Rule]] = {
    rule.id: rule for rule in sorted(_RULES, key=lambda rule: rule.id)
}
#: Rows that a finding shows.
SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Example:
    """A row that a finding is about.

    Attributes:
        row: 0-based input position.
        key: the recipient's own id, else the address.
        told: what it is there; may be empty.
    """

    row: int
    key: str
    told: str = ""

    def __str__(self) -> str:
        """Say which row it is."""
        told = f": {self.told}" if self.told else ""
        return f"row {self.row} ({self.key}){told}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found.

    Attributes:
        id: the rule's.
        text: what is wrong, in a sentence without a full stop.
        severity: how bad it is here.
        examples: some rows that it is about; none where it is about all.
        rows: how many rows it is about; 0 where that is not known, or all.
        remedy: what to do, where it is not what the rule says.
    """

    id: str
    text: str
    severity: Severity
    examples: tuple[Example, ...] = ()
    rows: int = 0
    remedy: str = ""

    @classmethod
    def of(
        cls,
        rule: str,
        text: str,
        examples: Iterable[Example] = (),
        *,
        rows: int = 0,
        severity: Severity | None = None,
        remedy: str = "",
    ) -> "Finding":
        """Make a finding, as bad as its rule unless said otherwise."""
        shown = tuple(examples)[:SHOWN]
        bad = severity or RULES[rule].severity
        return cls(rule, text, bad, shown, rows, remedy)

    @property
    def fix(self) -> str:
        """What to do."""
        return self.remedy or RULES[self.id].fix

    def __str__(self) -> str:
        """Say it in one line: id, what, where."""
        if not self.examples:
            return f"{self.id} {self.text}"
        return f"{self.id} {self.text}: {', '.join(map(str, self.examples))}"


def refusals(found: Iterable[Finding], allowed: Collection[str]) -> list[Finding]:
    """Return the errors that nobody has allowed."""
    return [
        finding
        for finding in found
        if finding.severity is Severity.ERROR and finding.id not in allowed
    ]


def overridden(found: Iterable[Finding], allowed: Collection[str]) -> list[str]:
    """Return the ids of the errors that were allowed, each once."""
    ids = [
        finding.id
        for finding in found
        if finding.severity is Severity.ERROR and finding.id in allowed
    ]
    return list(dict.fromkeys(ids))
