"""Monnify: login, transactions, refunds, the hosted checkout and the gateway's dashboard."""
