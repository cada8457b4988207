"""Pages as a program reads and posts them: signed in, with the form's token."""

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any

import httpx

from tests.browser.stage import Stage
from wedsync_apm.simulate.vendors import Person


class Surfer:
    """One person's browser without scripts."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def get(self, path: str, status: int = 200) -> str:
        """A page's text."""
        answer = self.http.get(path)
        assert answer.status_code == status, (answer.status_code, answer.text[:2000])
        return plain(answer.text)

    def post(self, path: str, status: int | None = 303, /, **fields: Any) -> httpx.Response:
        """Sends a form with our token; lists become fields of the same name."""
        token = token_in(self.http.get("/more").text)
        answer = self.http.post(path, data={"csrf": token, **fields})
        if status is not None:
            assert answer.status_code == status, (answer.status_code, plain(answer.text)[:3000])
        return answer


def token_in(text: str) -> str:
    """The form's token."""
    found = re.search(r'name="csrf" value="([^"]+)"', text)
    assert found is not None
    return found[1]


def field_in(text: str, name: str) -> str:
    """What a hidden or visible input holds."""
    found = re.search(rf'name="{name}"[^>]* value="([^"]*)"', text)
    assert found is not None, name
    return html.unescape(found[1])


class _Fields(HTMLParser):
    """What a browser sends of a form when nobody touches it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[str, list[str]] = {}
        self._select: str | None = None
        self._text: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        have = dict(attrs)
        name = have.get("name") or ""
        if tag == "input" and name:
            is_box = have.get("type") in ("checkbox", "radio")
            if not is_box or "checked" in have:
                self.sent.setdefault(name, []).append(have.get("value") or "")
        elif tag == "select":
            self._select = name
            self.sent.setdefault(name, [])
        elif tag == "option" and self._select:
            if "selected" in have:
                self.sent[self._select].append(have.get("value") or "")
            else:
                self.sent.setdefault(f"?{self._select}", []).append(have.get("value") or "")
        elif tag == "textarea":
            self._text = name

    def handle_data(self, data: str) -> None:
        if self._text:
            self.sent.setdefault(self._text, []).append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "select" and self._select:
            if not self.sent[self._select]:
                self.sent[self._select] = self.sent[f"?{self._select}"][:1]
            self._select = None
        elif tag == "textarea" and self._text:
            self.sent.setdefault(self._text, [""])
            self._text = None


def fields_in(page: str) -> dict[str, Any]:
    """A page's fields as they would be sent when nobody touches them, without the token."""
    reader = _Fields()
    reader.feed(page)
    return {k: v for k, v in reader.sent.items() if not k.startswith("?") and k != "csrf"}


def plain(text: str) -> str:
    """The words of a page, without its markup."""
    body = re.sub(r"<(style|script|svg)\b.*?</\1>", " ", text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


@contextmanager
def surfing(stage: Stage, person: Person, business: Any = None) -> Iterator[Surfer]:
    """A person signed in by his password, at the business wanted."""
    with httpx.Client(base_url=stage.url, headers={"accept": "text/html"}, timeout=30) as http:
        token = token_in(http.get("/sign-in").text)
        answer = http.post(
            "/sign-in",
            data={"csrf": token, "email": person.email, "password": stage.password(person)},
        )
        assert answer.status_code == 303, answer.text
        if business is not None:
            http.cookies.set("wedsync_organization", str(business))
        yield Surfer(http)
