"""Text messages by Twilio's REST API."""

from wedsync_apm.notify.channels.sms.config import configure as configure
from wedsync_apm.notify.channels.sms.config import unready as unready
from wedsync_apm.notify.channels.sms.render import render as render
from wedsync_apm.notify.channels.sms.send import send as send
