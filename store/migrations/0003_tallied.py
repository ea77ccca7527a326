"""Each time that an order comes into a state is a row of core_tally; those that are there count where they stand."""

from django.db import migrations

TALLY = """
CREATE FUNCTION store_order_tally() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO core_tally (name, labels, n) VALUES ('orders', ARRAY[NEW.state], 1);
    RETURN NULL;
END $$;
CREATE TRIGGER tally_added AFTER INSERT ON store_order FOR EACH ROW EXECUTE FUNCTION store_order_tally();
CREATE TRIGGER tally_moved AFTER UPDATE OF state ON store_order FOR EACH ROW WHEN (OLD.state <> NEW.state)
    EXECUTE FUNCTION store_order_tally();
INSERT INTO core_tally (name, labels, n) SELECT 'orders', ARRAY[state], count(*) FROM store_order GROUP BY 2;
"""
BACK = """
DROP FUNCTION store_order_tally() CASCADE;
DELETE FROM core_tally WHERE name = 'orders';
"""


class Migration(migrations.Migration):
    dependencies = [("store", "0002_product_models"), ("core", "0003_tally")]
    operations = [migrations.RunSQL(TALLY, BACK)]
