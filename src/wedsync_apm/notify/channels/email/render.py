"""The words of an e-mail, and the message they become."""

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape

from wedsync_apm.notify import words
from wedsync_apm.notify.message import Message, Rendered, mapped_lines
from wedsync_apm.notify.words import Facts

_SUBJECT_LIMIT = 200


def render(facts: Facts) -> Rendered:
    """Subject and plain text; the HTML part is the same text with links."""
    return Rendered(words.subject(facts), words.body(facts))


def compose(message: Message, sender: str, domain: str, address: str) -> EmailMessage:
    """The RFC 5322 message. Its Message-ID is the delivery's id: sent twice it is one message.

    Messages about one incident refer to one made-up first message and carry one subject, which is
    how mail programs put them into one thread.
    """
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = address
    mail["Subject"] = _one_line(message.subject)[:_SUBJECT_LIMIT]
    mail["Date"] = format_datetime(message.created_at)
    mail["Message-ID"] = f"<{message.delivery_id}@{domain}>"
    if message.incident_id is not None:
        mail["References"] = f"<incident.{message.incident_id}@{domain}>"
    if message.leave_url is not None:
        # RFC 8058: mail programs show a button and POST for it
        mail["List-Unsubscribe"] = f"<{message.leave_url}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    # Keeps out-of-office programs from answering.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.body)
    mail.add_alternative(_html(message), subtype="html")
    if message.attachment is not None:
        mail.add_attachment(
            message.attachment.content,
            maintype="application",
            subtype="pdf",
            filename=message.attachment.name,
        )
    return mail


def _html(message: Message) -> str:
    lines = mapped_lines(
        message,
        lambda label, url: f'<a href="{escape(url)}">{escape(label)}</a><br>',
        lambda line: f"{escape(line)}<br>",
    )
    return (
        '<!doctype html><html lang="en-GB"><body style="font: 16px/1.5 sans-serif">\n'
        f"<p>{lines}</p>\n</body></html>\n"
    )


def _one_line(text: str) -> str:
    # A line break in a header would begin another header.
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
