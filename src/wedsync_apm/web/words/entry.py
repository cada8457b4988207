"""Signing in, and the page "More"."""

from collections.abc import Mapping
from typing import Final

WORDS: Final[Mapping[str, str]] = {
    # sign in
    "sign_in.title": "Sign in",
    "sign_in.promise": "Calm watch over your wedding days.",
    "sign_in.email": "E-mail",
    "sign_in.password": "Password",
    "sign_in.show": "Show",
    "sign_in.hide": "Hide",
    "sign_in.button": "Sign in",
    "sign_in.demo": "Look around as",
    "sign_in.demo_note": "Demo: simulated businesses, couples and figures.",
    "sign_in.wrong": "E-mail or password is not right.",
    "sign_in.rate_limited": "Too many tries. Try again at {time}.",
    "sign_in.signed_out": "You are signed out.",
    # more
    "more.title": "More",
    "more.theme": "How it looks",
    "theme.system": "Like this device",
    "theme.light": "Light",
    "theme.dark": "Dark",
    "theme.sunlight": "Sunlight",
    "more.rules_note": "When somebody is told",
    "more.inbox_note": "Every message, and whether it arrived",
    "more.freeze_note": "May something be changed now?",
    "more.guard_note": "How closely does the platform watch?",
    "more.database_note": "Is the database well?",
    "more.backups_note": "Could everything be given back?",
    "more.report_note": "Every figure measured, with its statement",
    "more.docs": "For integrators",
    "more.docs_note": "API reference",
    "role.OWNER": "owner",
    "role.ADMIN": "admin",
    "role.MEMBER": "member",
    "role.VIEWER": "viewer",
}
