"""A tap on a one-tap link by the device itself: the worker wants words and no page."""

from html import unescape

import msgspec
from litestar import Response

from wedsync_apm.web.headers import ACK_HEADERS
from wedsync_apm.web.pages.frame import Html, PageRequest


def wants_words(request: PageRequest) -> bool:
    """Whether a notification's button was tapped, and no page's."""
    return request.headers.get("accept") == "application/json"


def tell(state: str, words: str, *, status: int) -> Html:
    """What came of the tap."""
    # The words are written for a page; a notification shows its signs as they are.
    body = msgspec.json.encode({"state": state, "words": str(unescape(words))})
    return Response(
        body, status_code=status, media_type="application/json", headers=dict(ACK_HEADERS)
    )
