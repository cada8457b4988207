"""Telephone calls by Twilio's REST API."""

from wedsync_apm.notify.channels.voice.config import configure as configure
from wedsync_apm.notify.channels.voice.config import unready as unready
from wedsync_apm.notify.channels.voice.render import render as render
from wedsync_apm.notify.channels.voice.send import send as send
