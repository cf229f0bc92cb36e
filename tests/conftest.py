"""No test asserts a time: a busy machine is no failure, neither of a property nor of its inputs."""

from hypothesis import HealthCheck, settings

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
