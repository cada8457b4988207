"""Calls from us to anybody else, through one client that checks where it goes."""

from wedsync_apm.egress.client import Answer as Answer
from wedsync_apm.egress.client import EgressClient as EgressClient
from wedsync_apm.egress.errors import EgressFailed as EgressFailed
from wedsync_apm.egress.errors import EgressRefused as EgressRefused
from wedsync_apm.egress.errors import Failure as Failure
from wedsync_apm.egress.policy import EgressPolicy as EgressPolicy
