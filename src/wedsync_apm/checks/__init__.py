"""Service health checks: is it there, is it fast enough, and since when?"""
