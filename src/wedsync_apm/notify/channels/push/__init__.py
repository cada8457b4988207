"""Web push: a notification in a person's browser, even while no page of ours is open."""

from wedsync_apm.notify.channels.push.config import FIELDS as FIELDS
from wedsync_apm.notify.channels.push.config import configure as configure
from wedsync_apm.notify.channels.push.config import read_fields as read_fields
from wedsync_apm.notify.channels.push.config import unready as unready
from wedsync_apm.notify.channels.push.render import render as render
from wedsync_apm.notify.channels.push.send import send as send
