"""How long an example takes says nothing on a busy machine: neither a slow one nor slow drawing fails a test."""

from hypothesis import HealthCheck, settings

settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")
