"""Slack's incoming webhooks."""

from wedsync_apm.notify.channels.slack.config import configure as configure
from wedsync_apm.notify.channels.slack.render import render as render
from wedsync_apm.notify.channels.slack.send import send as send
