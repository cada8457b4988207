"""Sign-in, More and the error pages."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DemoPerson:
    """A demo login, offered as a button."""

    label: str
    note: str
    key: str


@dataclass(frozen=True, slots=True)
class SignInView:
    """The form as typed, with the words of what went wrong."""

    email: str = ""
    error: str = ""
    notice: str = ""
    then: str = "/"
    people: tuple[DemoPerson, ...] = ()


@dataclass(frozen=True, slots=True)
class ErrorView:
    """What happened, what to do, nothing lost."""

    status: int
    reference: str = ""
    again: str = "/"


@dataclass(frozen=True, slots=True)
class MoreView:
    """What does not fit into the bar."""

    role: str
