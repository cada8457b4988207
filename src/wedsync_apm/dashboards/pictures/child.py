"""The program that draws one dashboard: it reads a job from its input and writes the picture.

It has a process of its own, with little memory and little time, so that whatever somebody puts on
a dashboard costs nobody else anything.
"""

import io
import resource
import sys
from typing import Final

import msgspec
import pypdfium2

from wedsync_apm.dashboards.pictures.model import Form, Job
from wedsync_apm.dashboards.pictures.pages import (
    MOST_PIXELS,
    PIXELS_A_POINT,
    to_pdf,
)

MEMORY_BYTES: Final = 1024 * 1024 * 1024
CPU_SECONDS: Final = 20


def draw(job: Job) -> bytes:
    """The picture."""
    if job.form is Form.PDF:
        return to_pdf(job.sheet)
    return to_png(to_pdf(job.sheet, is_one_page=True))


def to_png(document: bytes) -> bytes:
    """The first page of a document as a picture."""
    pdf = pypdfium2.PdfDocument(document)
    try:
        page = pdf[0]
        width, height = page.get_size()
        scale = min(PIXELS_A_POINT, (MOST_PIXELS / (width * height)) ** 0.5)
        out = io.BytesIO()
        page.render(scale=scale).to_pil().save(out, "PNG", optimize=False)
        return out.getvalue()
    finally:
        pdf.close()


def limit() -> None:
    """Little memory, little time, no core left behind."""
    for which, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(which)
        if hard == resource.RLIM_INFINITY or hard > most:
            try:
                resource.setrlimit(which, (most, most))
            except ValueError:
                # Other systems do not have all of them.
                if sys.platform == "linux":
                    raise


def main() -> None:
    """One picture."""
    limit()
    job = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Job)
    sys.stdout.buffer.write(draw(job))


if __name__ == "__main__":
    main()
