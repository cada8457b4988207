"""Vendored files, hashed names, the one file with colours, and the headers that guard them."""

import gzip
import hashlib
import re
from importlib.resources import files
from pathlib import Path

import pytest

from wedsync_apm.web import assets, headers

STATIC = Path(str(files("wedsync_apm.web"))) / "static"
TEMPLATES = STATIC.parent / "templates"
ROW = re.compile(r"^\| (\S+) \| (\S+) \| (\S+) \| .* \| ([0-9a-f]{64}) \|$", re.MULTILINE)
VENDORED = ROW.findall((STATIC / "vendor" / "VENDORED.md").read_text())


@pytest.mark.parametrize(("name", "package", "version", "sha256"), VENDORED)
def test_vendored_file_is_what_it_was(name: str, package: str, version: str, sha256: str) -> None:
    assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == sha256
    assert package
    assert version


def test_every_vendored_file_is_listed() -> None:
    there = {path.name for path in (STATIC / "vendor").iterdir() if path.suffix in {".js", ".css"}}
    assert {row[0] for row in VENDORED} == there
    assert len(there) == 3


def test_only_tokens_has_colours() -> None:
    colour = re.compile(r"#[0-9a-fA-F]{3,8}\b(?![-\w])|\brgba?\(|\bhsla?\(")
    own = [
        path
        for folder in (STATIC, TEMPLATES, STATIC.parent)
        for path in folder.rglob("*")
        if path.suffix in {".css", ".js", ".html", ".svg", ".py", ".webmanifest"}
        and "vendor" not in path.parts
        and path.name != "tokens.css"
    ]
    assert len(own) > 40
    found = {
        path.name: colour.findall(re.sub(r'(?:href|id)=?"?#[\w-]+|&#\d+;', "", path.read_text()))
        for path in own
    }
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_url_changes_with_content() -> None:
    loaded = assets.load()
    for name, asset in loaded.by_name.items():
        digest = hashlib.sha256(asset.body).hexdigest()[:12]
        stem, _, kind = name.rpartition(".")
        assert asset.url == f"/static/{stem}.{digest}.{kind}"
        assert gzip.decompress(asset.gzipped) == asset.body
    assert headers.ASSET_HEADERS["cache-control"].endswith("immutable")


def test_system_theme_repeats_the_dark_block() -> None:
    css = assets.load().critical_css
    dark = re.findall(r':root\[data-theme="dark"\]\{([^}]*)\}', css)
    media = re.findall(
        r'@media \(prefers-color-scheme:dark\)\{:root\[data-theme="system"\]\{([^}]*)\}\}', css
    )
    assert len(dark) == len(media) == 1
    assert dark == media


def test_tokens_without_a_theme_stop_the_start() -> None:
    with pytest.raises(ValueError, match="dark"):
        assets.with_system_theme(":root{--bg:x}")


def test_bytes_stay_in_budget() -> None:
    loaded = assets.load()
    assert len(gzip.compress(loaded.critical_css.encode(), 9)) <= 8 * 1024
    deferred = ("htmx.js", "live.js")
    assert sum(len(loaded.by_name[name].gzipped) for name in deferred) <= 18 * 1024
    charts = ("htmx.js", "live.js", "uplot.js", "chart.js")
    assert sum(len(loaded.by_name[name].gzipped) for name in charts) <= 45 * 1024


def test_policy_allows_our_files_only() -> None:
    policy = headers.PAGE_HEADERS["content-security-policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'none'" in headers.ACK_HEADERS["content-security-policy"]


def test_scripts_and_templates_hold_no_inline_code() -> None:
    for path in TEMPLATES.rglob("*.html"):
        text = path.read_text()
        assert not re.search(r"\son[a-z]+=|javascript:|\sstyle=|hx-on", text), path.name
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), path.name
