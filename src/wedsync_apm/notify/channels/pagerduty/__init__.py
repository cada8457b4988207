"""PagerDuty: Events API v2 out, V3 webhooks in."""

from wedsync_apm.notify.channels.pagerduty.config import FIELDS as FIELDS
from wedsync_apm.notify.channels.pagerduty.config import configure as configure
from wedsync_apm.notify.channels.pagerduty.config import fields_of as fields_of
from wedsync_apm.notify.channels.pagerduty.config import read_fields as read_fields
from wedsync_apm.notify.channels.pagerduty.render import render as render
from wedsync_apm.notify.channels.pagerduty.send import send as send
