"""Claims about `engine.secret`: read from where it is kept, and shown never."""

from pathlib import Path

import pytest

from engine.campaign import Token
from engine.errors import CampaignError
from engine.secret import Secret, read

TOKEN = "sk_live_51HZx"
NO_LINE = (
    "holds more than a line of ASCII text; "
    "a token is one line, without quotation marks and names"
)


def kept(folder: Path, content: str | bytes, mode: int = 0o600) -> Token:
    """Keep a token in a file."""
    file = folder / "token"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    file.chmod(mode)
    return Token(file="token")


def refusal(token: Token | None, folder: Path) -> tuple[str, str]:
    """Read a token that must be refused; return what is said, free of the folder."""
    with pytest.raises(CampaignError) as caught:
        read(token, folder=folder)
    told = caught.value
    assert TOKEN not in f"{told!s}{told!r}{told.hint}"
    return str(told).replace(f"{folder}/", ""), told.hint.replace(f"{folder}/", "")


@pytest.mark.parametrize("text", [TOKEN, f"{TOKEN}\n", f" {TOKEN}\r\n", "a b", "!~"])
def test_token_is_the_line_that_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """From a file or a variable alike, without the white space around it."""
    monkeypatch.setenv("PIGEON_KEY", text)
    assert text.strip() == read(kept(tmp_path, text), folder=tmp_path).reveal()
    assert text.strip() == read(Token(env="PIGEON_KEY"), folder=tmp_path).reveal()


@pytest.mark.parametrize("place", ["beside", "absolute", "home"])
def test_file_is_found_beside_the_campaign_or_where_its_path_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """A relative path starts in the campaign's folder, ~ at home."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folders = {"beside": tmp_path / "work", "absolute": tmp_path}
    folders["home"] = tmp_path / "home"
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    kept(folders[place], TOKEN)
    names = {"beside": "token", "absolute": str(tmp_path / "token"), "home": "~/token"}
    found = read(Token(file=names[place]), folder=tmp_path / "work")
    assert TOKEN == found.reveal()


def test_secret_does_not_show_itself() -> None:
    """Not when printed, formatted, put in a list or in an error."""
    secret = Secret(TOKEN)
    shown = f"{secret}{secret!r}{[secret]}%s" % secret + str(ValueError(secret))
    assert TOKEN not in shown
    assert "Secret(…)" == repr(secret)
    assert not hasattr(secret, "__dict__")


def test_campaign_without_a_token_is_told_what_to_write(tmp_path: Path) -> None:
    """Only a rehearsal does without."""
    wanted = '[provider] token is missing: write { env = "NAME" } or { file = "path" }'
    assert (wanted, "") == refusal(None, tmp_path)


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_variable_without_a_token_is_told_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """Unset and empty are the same: there is no token."""
    monkeypatch.delenv("PIGEON_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("PIGEON_KEY", value)
    assert (
        "[provider] token: the environment variable PIGEON_KEY holds no token",
        "export PIGEON_KEY=…",
    ) == refusal(Token(env="PIGEON_KEY"), tmp_path)


def test_token_in_place_of_a_variable_s_name_is_not_shown(tmp_path: Path) -> None:
    """Whoever wrote the secret itself as `env` does not find it in a log."""
    assert (
        "[provider] token: the environment variable that env names holds no token",
        'env names a variable, as in { env = "PROVIDER_TOKEN" }, and is no token',
    ) == refusal(Token(env=TOKEN), tmp_path)


def test_variable_in_lower_case_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is unusual, not wrong."""
    monkeypatch.setenv("pigeon_key", TOKEN)
    assert TOKEN == read(Token(env="pigeon_key"), folder=tmp_path).reveal()


@pytest.mark.parametrize(
    "mode", [0o640, 0o604, 0o644, 0o660, 0o620, 0o602, 0o610, 0o601, 0o777]
)
def test_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    """Any bit for the group or the world is one too many."""
    wanted = ("[provider] token: others may read token", "chmod 600 token")
    assert wanted == refusal(kept(tmp_path, TOKEN, mode), tmp_path)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_file_of_its_owner_alone_is_read(tmp_path: Path, mode: int) -> None:
    """Whatever the owner may do with it."""
    assert TOKEN == read(kept(tmp_path, TOKEN, mode), folder=tmp_path).reveal()


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("", "the file token holds no token"),
        ("\n\n", "the file token holds no token"),
        (f"{TOKEN}\n{TOKEN}", f"the file token {NO_LINE}"),
        (f"{TOKEN}\0", f"the file token {NO_LINE}"),
        (f"{TOKEN}ß", f"the file token {NO_LINE}"),
        (b"\xff\xfe", "token is not text"),
    ],
)  # fmt: skip
def test_file_without_one_plain_line_is_refused(
    tmp_path: Path, content: str | bytes, wanted: str
) -> None:
    """Nothing that could break a header is taken for a token."""
    told, _ = refusal(kept(tmp_path, content), tmp_path)
    assert f"[provider] token: {wanted}" == told


def test_file_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    """A missing file and a folder in place of one are problems, not crashes."""
    assert (
        "[provider] token: token cannot be read: No such file or directory",
        "write the token to token, mode 0600",
    ) == refusal(Token(file="token"), tmp_path)
    (tmp_path / "token").mkdir(mode=0o700)
    told, _ = refusal(Token(file="token"), tmp_path)
    assert "[provider] token: token cannot be read: Is a directory" == told


def test_link_to_a_file_is_judged_by_the_file(tmp_path: Path) -> None:
    """A link shows no mode of its own."""
    kept(tmp_path, TOKEN, 0o644)
    (tmp_path / "link").symlink_to(tmp_path / "token")
    assert "chmod 600 link" == refusal(Token(file="link"), tmp_path)[1]
    (tmp_path / "token").chmod(0o600)
    assert TOKEN == read(Token(file="link"), folder=tmp_path).reveal()


@pytest.mark.parametrize(
    "token", [None, Token(env="PIGEON_KEY"), Token(file="gone"), Token(file="token")]
)
def test_message_names_what_asked_for_the_token(
    tmp_path: Path, token: Token | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that has no campaign does not send its user to look into one."""
    monkeypatch.delenv("PIGEON_KEY", raising=False)
    kept(tmp_path, TOKEN, mode=0o644)
    with pytest.raises(CampaignError) as caught:
        read(token, folder=tmp_path, place="the letterbox")
    assert str(caught.value).startswith("the letterbox")
    assert "[provider]" not in str(caught.value)
