"""The store's part of the books: an order, its payment and its stock always tell the same story."""

from __future__ import annotations

from billing.books import Check

_CHECKS = (
    Check(
        "order_payments",
        "A confirmed order was paid in full by one payment, and every payment that was fulfilled as an order has one.",
        """
        SELECT 'order ' || coalesce(o.id::text, p.item),
            coalesce(o.state, 'missing') || ' for ' || coalesce(o.amount || ' ' || o.currency, 'nothing')
            || '; payment ' || coalesce(p.fulfilment || ', ' || p.amount || ' ' || p.currency, 'missing')
        FROM store_order o
        FULL JOIN (SELECT * FROM billing_payment WHERE fulfils = 'order' AND fulfilment = 'fulfilled') p
            ON p.id = o.payment_id
        WHERE (o.payment_id IS NOT NULL OR p.id IS NOT NULL)
          AND (o.id IS NULL OR p.id IS NULL OR p.user_id <> o.user_id OR p.item <> 'order:' || o.id
               OR p.amount <> o.amount OR p.currency <> o.currency OR o.state = 'pending')
        """,
        is_full_only=True,
    ),
    Check(
        "order_refunds",
        "What was paid for an order that was canceled has gone back, is on its way, or a person looks after it.",
        """
        SELECT 'order ' || o.id, 'canceled, and ' || (p.received - p.refunded - p.refunding - p.lost) || ' is kept'
        FROM store_order o JOIN billing_payment p ON p.id = o.payment_id
        WHERE o.state = 'canceled' AND p.received > p.refunded + p.refunding + p.lost
          AND NOT EXISTS (SELECT FROM billing_refund r WHERE r.payment_id = p.id AND r.state = 'failed')
        """,
        is_full_only=True,
    ),
    Check(
        "order_stock",
        "What is reserved of a product is what its orders wait for that have not been shipped.",
        """
        SELECT 'product ' || p.id, 'reserved ' || p.reserved || ', ordered ' || coalesce(w.total, 0)
        FROM store_product p LEFT JOIN (
            SELECT l.product_id, sum(l.quantity) AS total FROM store_orderline l JOIN store_order o ON o.id = l.order_id
            WHERE o.state IN ('pending', 'confirmed') GROUP BY 1) w ON w.product_id = p.id
        WHERE p.reserved <> coalesce(w.total, 0)
        """,
    ),
)


def checks() -> tuple[Check, ...]:
    """What settings.BOOK_CHECKS asks for."""
    return _CHECKS
