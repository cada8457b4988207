"""WedSync APM: performance monitoring and incident response for wedding vendors."""

__version__ = "0.1.0"
