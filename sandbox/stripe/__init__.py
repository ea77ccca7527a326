"""Stripe: payment intents, checkout sessions, refunds, disputes, the hosted checkout and the gateway's dashboard."""
