"""Signed webhooks, after the Standard Webhooks specification."""

from wedsync_apm.notify.channels.webhook.config import FIELDS as FIELDS
from wedsync_apm.notify.channels.webhook.config import configure as configure
from wedsync_apm.notify.channels.webhook.config import read_fields as read_fields
from wedsync_apm.notify.channels.webhook.render import render as render
from wedsync_apm.notify.channels.webhook.send import send as send
