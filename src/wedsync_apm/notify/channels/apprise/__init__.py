"""Apprise, for the services that have no channel of their own here.

The library's plug-ins run in a process that can open nothing: it says which calls are to be made,
and we make them, by the rules that hold for every other call.
"""

from wedsync_apm.notify.channels.apprise.config import FIELDS as FIELDS
from wedsync_apm.notify.channels.apprise.config import configure as configure
from wedsync_apm.notify.channels.apprise.config import read_fields as read_fields
from wedsync_apm.notify.channels.apprise.config import unready as unready
from wedsync_apm.notify.channels.apprise.render import render as render
from wedsync_apm.notify.channels.apprise.send import send as send
