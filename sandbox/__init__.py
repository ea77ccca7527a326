"""The outside world on one port: payment gateway, picture provider and mail server, simulated over HTTP and SMTP.

Imports nothing of Atelier, and nothing of Atelier imports it: they meet only on the wire.
"""
