"""E-mail by SMTP."""

from wedsync_apm.notify.channels.email.config import configure as configure
from wedsync_apm.notify.channels.email.config import unready as unready
from wedsync_apm.notify.channels.email.render import render as render
from wedsync_apm.notify.channels.email.send import send as send
