"""Razorpay: orders, payments, refunds, disputes, the hosted checkout and the gateway's dashboard."""
