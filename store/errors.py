"""What the store refuses, each with its code."""

from __future__ import annotations

from core.errors import Error


class OutOfStock(Error):
    code = "out_of_stock"
    status = 409
    message = "There are not enough of these left; nothing was ordered."


class MixedCurrencies(Error):
    code = "mixed_currencies"
    status = 400
    message = "An order has one currency; order these apart."


class OrderShipped(Error):
    code = "order_shipped"
    status = 409
    message = "This order has been shipped; it can no longer be canceled."


class OrderStatusRefused(Error):
    code = "order_status_refused"
    status = 409
    message = "An order cannot go from its present status to this one."


class StockReserved(Error):
    code = "stock_reserved"
    status = 409
    message = "More than that is reserved for orders that have not been shipped."
