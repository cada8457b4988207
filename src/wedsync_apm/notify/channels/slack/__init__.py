"""Slack: incoming webhooks, and bots, whose messages have buttons and are edited in place."""

from wedsync_apm.notify.channels.slack.config import FIELDS as FIELDS
from wedsync_apm.notify.channels.slack.config import configure as configure
from wedsync_apm.notify.channels.slack.config import fields_of as fields_of
from wedsync_apm.notify.channels.slack.config import read_fields as read_fields
from wedsync_apm.notify.channels.slack.render import render as render
from wedsync_apm.notify.channels.slack.send import send as send
