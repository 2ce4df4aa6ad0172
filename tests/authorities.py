"""Whom programs that fetch packages trust: the machine's authorities, a company's proxy signs with one of those.

`pip` does so by itself; Node.js and `uv` bring a list of their own, and refuse a registry behind such a proxy.
"""

TRUSTING = {"NODE_OPTIONS": "--use-system-ca", "UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}
"""To be set in a program's environment. `UV_NATIVE_TLS` is what earlier releases of uv call `UV_SYSTEM_CERTS`."""
